import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGzip } from "node:zlib";

const run = promisify(execFile);

/** The `config` object of an OCI image configuration. */
interface RuntimeConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Labels?: Readonly<Record<string, string>>;
}

export interface ImageSpec {
  readonly platform: { readonly os: string; readonly architecture: string };
  /** Uncompressed tar files, lowest layer first. */
  readonly layers: readonly string[];
  readonly config: RuntimeConfig;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface LayoutOptions {
  /** One image, or several platforms of one, which become an index. */
  readonly images: readonly ImageSpec[];
  /** The name under which containerd imports it. */
  readonly reference?: string;
  /** Level of gzip; 1 unless said: the tests' layers are random bytes or programs that are pulled once. */
  readonly compression?: number;
}

/** Tars a folder so that equal content gives equal bytes. */
export async function packLayer(folder: string, tarFile: string): Promise<void> {
  const reproducible = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
  await run("tar", [...reproducible, "-C", folder, "-cf", tarFile, "."]);
}

/** Tars a layout for `ctr image import`. */
export async function archiveLayout(directory: string, tarFile: string): Promise<void> {
  await run("tar", ["-C", directory, "-cf", tarFile, "."]);
}

/**
 * Writes an OCI image layout (image-spec, image-layout.md) into `directory`.
 * @returns the descriptor of the image, or of the index when there are several platforms
 */
export async function writeLayout(
  directory: string,
  { images, reference, compression = 1 }: LayoutOptions,
): Promise<Descriptor> {
  await mkdir(join(directory, "blobs", "sha256"), { recursive: true });
  const manifests = [];
  for (const image of images)
    manifests.push({ ...(await writeImage(directory, image, compression)), platform: image.platform });
  const [single] = manifests;
  if (!single) throw new Error("an image layout needs at least one image");
  const indexType = "application/vnd.oci.image.index.v1+json";
  const index = { schemaVersion: 2, mediaType: indexType, manifests };
  const { platform: _, ...plain } = single;
  const root = manifests.length === 1 ? plain : await writeJson(directory, indexType, index);
  const annotations = reference ? { "io.containerd.image.name": reference } : undefined;
  await writeFile(join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { ...root, annotations };
  await writeFile(join(directory, "index.json"), JSON.stringify({ ...index, manifests: [entry] }));
  return root;
}

async function writeImage(
  directory: string,
  { platform, layers, config }: ImageSpec,
  compression: number,
): Promise<Descriptor> {
  const written = [];
  for (const layer of layers) written.push(await writeLayer(directory, layer, compression));
  const configuration = await writeJson(directory, "application/vnd.oci.image.config.v1+json", {
    ...platform,
    config,
    rootfs: { type: "layers", diff_ids: written.map(({ diffId }) => diffId) },
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const descriptors = written.map(({ descriptor }) => descriptor);
  return writeJson(directory, mediaType, { schemaVersion: 2, mediaType, config: configuration, layers: descriptors });
}

async function writeLayer(
  directory: string,
  tarFile: string,
  level: number,
): Promise<{ descriptor: Descriptor; diffId: string }> {
  const diffId = await digestOf(tarFile);
  const unnamed = join(directory, "blobs", "layer.unfinished");
  await pipeline(createReadStream(tarFile), createGzip({ level }), createWriteStream(unnamed));
  const digest = await digestOf(unnamed);
  const { size } = await stat(unnamed);
  await rename(unnamed, blobPath(directory, digest));
  return { descriptor: { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size }, diffId };
}

async function writeJson(directory: string, mediaType: string, value: unknown): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  await writeFile(blobPath(directory, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
}

function blobPath(directory: string, digest: string): string {
  return join(directory, "blobs", ...digest.split(":"));
}
