import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, digestOf, type Image, makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
/** Five in the tests; `npm run soak` asks for more. */
const TIMES = Number(process.env.CREG_SOAK_KILLS ?? 5);
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
});
afterAll(() => upstream?.dispose());
afterEach(() => registry?.dispose());

async function start(configuration: object = {}): Promise<void> {
  registry = await startRegistryProcess({ ...upstream.configuration(), ...configuration });
  api = createRegistryApi(registry.url);
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const files = (folder: string) => readdir(join(registry.data, folder));

/** Every file under blobs/ is what its name says. */
async function expectStoreIntact(): Promise<void> {
  for (const algorithm of ["sha256", "sha512"]) {
    for (const name of await files(`blobs/${algorithm}`)) {
      const bytes = await readFile(join(registry.data, "blobs", algorithm, name));
      expect(digestOf(bytes, algorithm)).toBe(`${algorithm}:${name}`);
    }
  }
}

it(`loses nothing acknowledged when it is killed ${TIMES} times in the middle of pushes`, async () => {
  await start({ uploads: { idle: "0s" } });
  const blobs: Blob[] = [];
  const images: Image[] = [];
  for (let round = 0; round < TIMES; round += 1) {
    let going = true;
    const pushOn = async (): Promise<void> => {
      while (going) {
        const image = makeImage([100_000, 2 * MiB]);
        const repository = "crash/push";
        try {
          for (const blob of image.blobs) {
            await api.pushBlob(repository, blob);
            blobs.push(blob);
          }
          const answer = await api.putManifest(repository, `v${images.length}`, image.manifest);
          if (answer.status === 201) images.push(image);
        } catch {
          return;
        }
      }
    };
    const pushing = Promise.all([pushOn(), pushOn(), pushOn()]);
    await pause(150 + Math.random() * 500);
    await registry.kill();
    going = false;
    await pushing;
    await registry.start();
    expect(await files("ingest")).toEqual([]);
    expect(await files("trash")).toEqual([]);
    for (const blob of blobs) {
      const head = await api.request("HEAD", `crash/push/blobs/${blob.digest}`);
      expect([head.status, head.headers.get("content-length")]).toEqual([200, String(blob.bytes.length)]);
    }
    for (const image of images) await expectPullable(api, "crash/push", image);
    await expectStoreIntact();
  }
  expect(images.length).toBeGreaterThan(TIMES);
  console.info(
    `${TIMES} kills during pushes: ${images.length} images and ${blobs.length} blobs acknowledged, all there`,
  );

  // Sessions that nobody continues do not stay, nor do bytes that no row knows.
  await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
  expect(await files("uploads")).toEqual([]);
  const orphans = (await files("blobs/sha256")).filter((name) => {
    const known = [...blobs, ...images.map(({ manifest }) => manifest)];
    return !known.some(({ digest }) => digest.endsWith(name));
  });
  for (const name of orphans) {
    // Committed in the moment of the kill, though the client never heard of it.
    expect((await api.request("HEAD", `crash/push/blobs/sha256:${name}`)).status).toBe(200);
  }
});

it(`serves nothing wrong when it is killed ${TIMES} times in the middle of cold pulls`, async () => {
  await start();
  upstream.proxy.throttle(40e6);
  const image = makeImage([6 * MiB, 9 * MiB, 3 * MiB]);
  await upstream.api.pushImage("crash/pull", "v1", image);
  const name = `${UPSTREAM_NAME}/crash/pull`;
  const pull = async () => {
    await api.request("GET", `${name}/manifests/v1`);
    return Promise.all(
      image.blobs.map(async (blob) => ({
        blob,
        got: await download(`${registry.url}/v2/${name}/blobs/${blob.digest}`),
      })),
    );
  };
  for (let round = 0; round < TIMES; round += 1) {
    const pulling = pull().catch(() => []);
    await pause(30 + Math.random() * 350);
    await registry.kill();
    // Whole and right, or visibly cut.
    const whole = (await pulling).filter(({ got }) => got.status === 200 && !got.cut);
    for (const { blob, got } of whole) expect(got.digest).toBe(blob.digest);
    await registry.start();
    expect(await files("ingest")).toEqual([]);
    expect(await files("trash")).toEqual([]);
    await expectStoreIntact();
  }
  upstream.proxy.throttle(undefined);
  for (const { blob, got } of await pull()) expect([got.digest, got.cut]).toEqual([blob.digest, false]);
  await expectPullable(api, name, image);
});

describe("with the upstream down", () => {
  it("starts and serves what it holds, by tag also after its time; the rest fails quickly", async () => {
    const configuration = upstream.configuration({ tagTtl: "0s", timeouts: { connect: "1s", headers: "1s" } });
    registry = await startRegistryProcess(configuration);
    api = createRegistryApi(registry.url);
    const image = makeImage([100_000]);
    await upstream.api.pushImage("down/app", "v1", image);
    const name = `${UPSTREAM_NAME}/down/app`;
    expect(await api.get(`${name}/manifests/v1`)).toEqual(image.manifest.bytes);
    await expectPullable(api, name, image);
    await registry.stop();
    await upstream.proxy.off();
    try {
      await registry.start();
      const stale = await api.request("GET", `${name}/manifests/v1`);
      expect([stale.status, stale.headers.get("docker-content-digest")]).toEqual([200, image.manifest.digest]);
      expect(stale.headers.get("warning")).toMatch(/^299 - /);
      await expectPullable(api, name, image);
      const started = performance.now();
      expect((await api.request("GET", `${name}/manifests/v2`)).status).toBe(502);
      expect((await api.request("GET", `${name}/manifests/${randomBlob(1).digest}`)).status).toBe(502);
      expect((await api.request("GET", `${name}/blobs/${randomBlob(1).digest}`)).status).toBe(502);
      expect((await api.request("HEAD", `${name}/blobs/${randomBlob(1).digest}`)).status).toBe(502);
      expect(performance.now() - started).toBeLessThan(4_000);
    } finally {
      await upstream.proxy.on();
    }
    // The failure is remembered for ten seconds at most.
    await upstream.api.pushImage("down/app", "v3", image);
    const back = performance.now();
    await eventually(async () => expect((await api.request("GET", `${name}/manifests/v3`)).status).toBe(200));
    expect(performance.now() - back).toBeLessThan(11_000);
  });
});

describe("a store that lost files", () => {
  it("fetches cached content anew", async () => {
    await start();
    const image = makeImage([50_000]);
    await upstream.api.pushImage("lost/app", "v1", image);
    const name = `${UPSTREAM_NAME}/lost/app`;
    await api.get(`${name}/manifests/v1`);
    await expectPullable(api, name, image);
    await registry.stop();
    await rm(join(registry.data, "blobs"), { recursive: true });
    await mkdir(join(registry.data, "blobs", "sha256"), { recursive: true });
    await registry.start();
    await expectPullable(api, name, image);
    expect(await api.get(`${name}/manifests/v1`)).toEqual(image.manifest.bytes);
  });

  it("fetches a truncated blob and a damaged manifest anew", async () => {
    await start();
    const image = makeImage([50_000]);
    await upstream.api.pushImage("lost/cut", "v1", image);
    const name = `${UPSTREAM_NAME}/lost/cut`;
    await api.get(`${name}/manifests/v1`);
    await expectPullable(api, name, image);
    await registry.stop();
    const path = (digest = "") => join(registry.data, "blobs", ...digest.split(":"));
    await writeFile(path(image.blobs[1]?.digest), "short");
    await writeFile(path(image.manifest.digest), Buffer.alloc(image.manifest.bytes.length, "x"));
    await registry.start();
    await expectPullable(api, name, image);
  });
});
