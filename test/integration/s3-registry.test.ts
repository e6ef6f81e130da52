import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeTestImage } from "../../hack/cluster/test-image.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type S3Server, startS3Server } from "../support/s3-server.ts";
import { type Blob, digestOf, type Image, makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
const run = promisify(execFile);
let s3: S3Server;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let prefix = "";
let started = 0;

beforeAll(async () => {
  [s3, upstream] = await Promise.all([startS3Server(), startUpstreamRegistry()]);
});
afterEach(async () => {
  upstream.proxy.throttle(undefined);
  await registry.dispose();
});
afterAll(async () => {
  await upstream?.dispose();
  await s3?.dispose();
});

/** On a prefix of its own. */
async function start(configuration: object = {}): Promise<void> {
  started += 1;
  prefix = `registry-${started}`;
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    storage: s3.storage(prefix),
    ...configuration,
  });
  api = createRegistryApi(registry.url);
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const objects = () => readdir(join(s3.bucket, prefix, "blobs", "sha256")).catch((): string[] => []);
const spooled = async (folder: "ingest" | "uploads") => readdir(join(registry.data, "spool", folder));
const hex = ({ digest }: Pick<Blob, "digest">) => digest.slice("sha256:".length);
const contentsOf = ({ manifest, blobs }: Image) => [manifest, ...blobs];

/** Every object is what its name says. */
async function expectStoreIntact(): Promise<void> {
  for (const name of await objects()) {
    expect(digestOf(await readFile(join(s3.bucket, prefix, "blobs", "sha256", name)))).toBe(`sha256:${name}`);
  }
}

describe("a registry on S3", () => {
  it("takes pushes of crane, and gives them back", async () => {
    await start();
    const work = await mkdtemp(join(tmpdir(), "creg-s3-crane-"));
    try {
      const { crane = "" } = await ensureTools(["crane"], { log: () => {} });
      const image = await makeTestImage({ directory: join(work, "image"), layerBytes: 20 * MiB, log: () => {} });
      const reference = `${new URL(registry.url).host}/team/app:v1`;
      const env = { HOME: work, PATH: process.env.PATH };
      await run(crane, ["push", image.directory, reference], { env });
      await run(crane, ["validate", "--remote", reference], { env });
      const { stdout } = await run(crane, ["digest", reference], { env });
      expect(stdout.trim()).toBe(image.digest);
      await expectStoreIntact();
      expect((await objects()).length).toBeGreaterThan(2);
      expect([await spooled("ingest"), await spooled("uploads")]).toEqual([[], []]);
    } finally {
      await rm(work, { recursive: true });
    }
  });

  it("keeps pushed content over a restart, and serves ranges of it", async () => {
    await start();
    const image = makeImage([40 * MiB]);
    await api.pushImage("team/large", "v1", image);
    await registry.stop();
    await registry.start();
    await expectPullable(api, "team/large", image);
    const layer = image.blobs[1];
    if (!layer) throw new Error("the image has a layer");
    const path = `team/large/blobs/${layer.digest}`;
    const part = await api.request("GET", path, { headers: { range: "bytes=16777210-33554440" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([
      206,
      `bytes 16777210-33554440/${layer.bytes.length}`,
    ]);
    expect(Buffer.from(await part.arrayBuffer()).equals(layer.bytes.subarray(16777210, 33554441))).toBe(true);
  });

  it("reads a cold blob upstream once for everybody, while it is written", async () => {
    await start();
    const image = makeImage([20 * MiB]);
    await upstream.api.pushImage("s3/cold", "v1", image);
    upstream.proxy.reset();
    upstream.proxy.throttle(20e6);
    const name = `${UPSTREAM_NAME}/s3/cold`;
    await api.get(`${name}/manifests/v1`);
    const layer = image.blobs[1];
    const pulls = Array.from({ length: 8 }, () => download(`${registry.url}/v2/${name}/blobs/${layer?.digest}`));
    for (const { digest, cut } of await Promise.all(pulls)) expect([digest, cut]).toEqual([layer?.digest, false]);
    await eventually(async () => expect(await objects()).toContain(hex(layer ?? image.manifest)));
    upstream.proxy.throttle(undefined);
    await expectPullable(api, name, image);
    expect(upstream.fetchedTwice()).toEqual([]);
    await eventually(async () => expect(await spooled("ingest")).toEqual([]));
  });

  it("gives objects back when nothing needs them, and takes the same content again", async () => {
    // Longer than the largest layer takes to arrive: until the manifest comes, nothing else keeps the small ones.
    await start({ gc: { grace: "3s" } });
    const shared = randomBlob(100_000);
    const [doomed, kept] = [makeImage([shared, 17 * MiB]), makeImage([shared, 1_000])];
    await api.pushImage("gc/doomed", "v1", doomed);
    await api.pushImage("gc/kept", "v1", kept);
    for (const tag of [1, 2]) {
      expect((await objects()).sort()).toEqual(
        [...new Set([...contentsOf(doomed), ...contentsOf(kept)].map(hex))].sort(),
      );
      const deleted = await api.request("DELETE", `gc/doomed/manifests/${doomed.manifest.digest}`);
      expect(deleted.status).toBe(202);
      await eventually(async () => expect((await objects()).sort()).toEqual(contentsOf(kept).map(hex).sort()));
      await expectPullable(api, "gc/kept", kept);
      await api.pushImage("gc/doomed", `again-${tag}`, doomed);
      await expectPullable(api, "gc/doomed", doomed);
    }
  });
});

describe("a registry that redirects to S3", () => {
  it("sends clients there for what it holds, for a while, and serves the rest itself", async () => {
    await start({ storage: s3.storage("redirecting", { redirect: "presigned" }) });
    const image = makeImage([100_000]);
    await api.pushImage("team/app", "v1", image);
    const [, layer = image.manifest] = image.blobs;
    const redirect = await api.request("GET", `team/app/blobs/${layer.digest}`);
    expect([redirect.status, redirect.headers.get("cache-control")]).toEqual([307, "no-store"]);
    const location = redirect.headers.get("location") ?? "";
    expect(location).toMatch(
      new RegExp(`^${s3.location.endpoint}/images/redirecting/blobs/sha256/${hex(layer)}\\?X-Amz-`),
    );
    const part = await fetch(location, { headers: { range: "bytes=10-19" } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(layer.bytes.subarray(10, 20))).toBe(true);
    expect((await fetch(location, { method: "DELETE" })).status).toBe(403);
    expect((await api.request("HEAD", `team/app/blobs/${layer.digest}`)).status).toBe(200);
    expect((await api.request("GET", `team/other/blobs/${layer.digest}`)).status).toBe(404);

    const { crane = "" } = await ensureTools(["crane"], { log: () => {} });
    const reference = `${new URL(registry.url).host}/team/app:v1`;
    const { stdout } = await run(crane, ["blob", `${reference.split(":v1")[0]}@${layer.digest}`], {
      encoding: "buffer",
      env: { PATH: process.env.PATH, HOME: registry.directory },
    });
    expect(stdout.equals(layer.bytes)).toBe(true);

    const cold = makeImage([50_000]);
    await upstream.api.pushImage("s3/redirect", "v1", cold);
    const name = `${UPSTREAM_NAME}/s3/redirect`;
    await api.get(`${name}/manifests/v1`);
    const [, coldLayer = cold.manifest] = cold.blobs;
    const first = await api.request("GET", `${name}/blobs/${coldLayer.digest}`);
    expect([first.status, digestOf(Buffer.from(await first.arrayBuffer()))]).toEqual([200, coldLayer.digest]);
    await eventually(async () =>
      expect((await api.request("GET", `${name}/blobs/${coldLayer.digest}`)).status).toBe(307),
    );
    expect(registry.output()).not.toMatch(/Signature=|AWS4-HMAC/);
  });
});

describe("a registry on S3 that is killed", () => {
  it("in the middle of pushes, loses nothing that it acknowledged", async () => {
    await start({ uploads: { idle: "0s" } });
    const blobs: Blob[] = [];
    const images: Image[] = [];
    for (let round = 0; round < 4; round += 1) {
      let going = true;
      const before = images.length;
      const pushOn = async (): Promise<void> => {
        while (going) {
          const image = makeImage([100_000, 18 * MiB]);
          try {
            for (const blob of image.blobs) {
              await api.pushBlob("crash/push", blob);
              blobs.push(blob);
            }
            const answer = await api.putManifest("crash/push", `v${images.length}`, image.manifest);
            if (answer.status === 201) images.push(image);
          } catch {
            return;
          }
        }
      };
      const pushing = Promise.all([pushOn(), pushOn()]);
      await eventually(() => expect(images.length).toBeGreaterThan(before));
      await pause(Math.random() * 600);
      await registry.kill();
      going = false;
      await pushing;
      await registry.start();
      expect(await spooled("ingest")).toEqual([]);
      for (const blob of blobs) {
        const head = await api.request("HEAD", `crash/push/blobs/${blob.digest}`);
        expect([head.status, head.headers.get("content-length")]).toEqual([200, String(blob.bytes.length)]);
      }
      for (const image of images.slice(-2)) await expectPullable(api, "crash/push", image);
    }
    await expectStoreIntact();
    // Neither half-sent parts nor upload sessions that nobody continues stay.
    const query = `uploads=`;
    expect(await (await s3.request("GET", `${s3.location.bucket}?${query}`)).text()).not.toContain("<Upload>");
    await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
    expect(await spooled("uploads")).toEqual([]);
  });

  it("in the middle of cold pulls, serves nothing wrong and heals", async () => {
    await start();
    const image = makeImage([18 * MiB, 3 * MiB]);
    await upstream.api.pushImage("s3/crash", "v1", image);
    upstream.proxy.throttle(60e6);
    const name = `${UPSTREAM_NAME}/s3/crash`;
    const pull = async () => {
      await api.request("GET", `${name}/manifests/v1`);
      return Promise.all(
        image.blobs.map(async (blob) => ({
          blob,
          got: await download(`${registry.url}/v2/${name}/blobs/${blob.digest}`),
        })),
      );
    };
    for (let round = 0; round < 4; round += 1) {
      const pulling = pull().catch(() => []);
      await pause(100 + Math.random() * 600);
      await registry.kill();
      // Whole and right, or visibly cut.
      const whole = (await pulling).filter(({ got }) => got.status === 200 && !got.cut);
      for (const { blob, got } of whole) expect(got.digest).toBe(blob.digest);
      await registry.start();
      expect(await spooled("ingest")).toEqual([]);
      await expectStoreIntact();
    }
    upstream.proxy.throttle(undefined);
    for (const { blob, got } of await pull()) expect([got.digest, got.cut]).toEqual([blob.digest, false]);
  });
});
