import { execFile } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { ensureTools } from "../tools/ensure.ts";
import { requireTool } from "./containerd.ts";
import { type ImageSpec, packLayer, writeLayout } from "./oci-layout.ts";
import { imageArchitecture } from "./pause-image.ts";

const run = promisify(execFile);

export interface TestImageOptions {
  /** Made, and emptied first. */
  readonly directory: string;
  /** Size of the layer of bytes that do not compress, besides the program's own layer; default none. */
  readonly layerBytes?: number;
  /** Other seeds give other bytes; equal ones the same image. */
  readonly seed?: string;
  /** An index with an entry for amd64 and one for arm64, instead of an image of this machine's architecture. */
  readonly multiArch?: boolean;
  readonly log: (line: string) => void;
}

export interface TestImage {
  /** An OCI image layout. */
  readonly directory: string;
  /** Of the manifest, or of the index. */
  readonly digest: string;
  readonly multiArch: boolean;
}

/**
 * Makes an image that runs: `/probe` serves HTTP on $PORT (8080) until SIGTERM; `/probe get URL`, `/probe resolve NAME`,
 * `/probe read FILE` and `/probe sleep SECONDS` look around from inside a pod. The file `/seed` holds the seed. In an
 * index only this machine's entry runs: the other one has a layer of data and the same program.
 */
export async function makeTestImage(options: TestImageOptions): Promise<TestImage> {
  const { directory, layerBytes = 0, seed = "", multiArch = false, log } = options;
  const { probe } = await ensureTools(["probe"], { log });
  await rm(directory, { recursive: true, force: true });
  const work = join(directory, "work");
  const program = join(work, "program");
  await mkdir(program, { recursive: true });
  await copyFile(requireTool({ probe: probe ?? "" }, "probe"), join(program, "probe"));
  // Images of different seeds share no layer: what is counted for one is not held because of another.
  await writeFile(join(program, "seed"), seed);
  const programLayer = join(work, "program.tar");
  await packLayer(program, programLayer);
  const images: ImageSpec[] = [];
  for (const architecture of multiArch ? ["amd64", "arm64"] : [imageArchitecture()]) {
    const layers = [programLayer];
    if (layerBytes || multiArch) layers.push(await randomLayer(work, `${seed}/${architecture}`, layerBytes || 1024));
    const config = { Entrypoint: ["/probe"], User: "65532:65532", ExposedPorts: { "8080/tcp": {} } };
    images.push({ platform: { os: "linux", architecture }, layers, config: { ...config, Labels: { seed } } });
  }
  const layout = join(directory, "layout");
  const { digest } = await writeLayout(layout, { images });
  await rm(work, { recursive: true });
  return { directory: layout, digest, multiArch };
}

/** Pushes to a registry; plain HTTP for loopback and private addresses. */
export async function pushTestImage(image: TestImage, reference: string, { log }: Pick<TestImageOptions, "log">) {
  const tools = await ensureTools(["crane"], { log });
  const index = image.multiArch ? ["--index"] : [];
  await run(requireTool(tools, "crane"), ["push", "--insecure", ...index, image.directory, reference]);
}

/** A layer with one file of pseudo-random bytes: a key stream, as it is the fastest such thing at hand. */
async function randomLayer(work: string, seed: string, bytes: number): Promise<string> {
  const name = createHash("sha256").update(seed).digest("hex").slice(0, 12);
  const folder = join(work, name);
  await mkdir(folder);
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  await pipeline(Readable.from(zeros(bytes)), cipher, createWriteStream(join(folder, "data")));
  await packLayer(folder, `${folder}.tar`);
  return `${folder}.tar`;
}

function* zeros(bytes: number): Generator<Buffer> {
  const block = Buffer.alloc(1 << 20);
  for (let left = bytes; left > 0; left -= block.length) yield block.subarray(0, left);
}
