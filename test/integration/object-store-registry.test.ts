import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { listAll } from "@cache-registry/storage/blob-store/conformance/fixtures";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AZURE_KEY, startAzureServer } from "../support/azure-server.ts";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { startGcsServer } from "../support/gcs-server.ts";
import type { ObjectStore } from "../support/object-stores.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Image, makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let upstream: UpstreamRegistry;
beforeAll(async () => {
  upstream = await startUpstreamRegistry();
});
afterAll(() => upstream?.dispose());

/* S3 has its own files, s3-registry.test.ts and s3-outage.test.ts. */
describe.each([
  ["gcs", startGcsServer],
  ["azure", startAzureServer],
] as const)("a registry on %s", (driver, startServer) => {
  let server: ObjectStore;
  let registry: RegistryProcess;
  let api: RegistryApi;
  let prefix = "";
  let started = 0;

  beforeAll(async () => {
    server = await startServer();
  });
  afterEach(async () => {
    upstream.proxy.throttle(undefined);
    await registry.dispose();
  });
  afterAll(() => server?.dispose());

  /** On a prefix of its own. */
  async function start({ blobs, ...configuration }: { blobs?: object; gc?: object } = {}): Promise<void> {
    started += 1;
    prefix = `registry-${started}`;
    registry = await startRegistryProcess({
      ...upstream.configuration(),
      storage: server.storage(prefix, blobs),
      log: { level: "debug", access: true },
      ...configuration,
    });
    api = createRegistryApi(registry.url);
  }

  /** Digests of what is in the bucket. */
  async function stored(): Promise<string[]> {
    const store = server.open({ prefix: `${prefix}/`, spool: join(registry.data, "unused") });
    const digests = await listAll(store.list());
    await store.close();
    return digests.sort();
  }
  const contentsOf = (...images: Image[]) =>
    [
      ...new Set(images.flatMap(({ manifest, blobs }) => [manifest, ...blobs]).map(({ digest }) => String(digest))),
    ].sort();

  it("keeps pushed content over a restart, serves ranges of it, and gives it back to nobody but the collector", async () => {
    // Longer than the largest layer takes to arrive: until the manifest comes, nothing else keeps the small ones.
    await start({ gc: { grace: "5s" } });
    const shared = randomBlob(100_000);
    const [doomed, kept] = [makeImage([shared, 40 * MiB]), makeImage([shared, 1_000])];
    await api.pushImage("team/doomed", "v1", doomed);
    await api.pushImage("team/kept", "v1", kept);
    await registry.stop();
    await registry.start();
    await expectPullable(api, "team/doomed", doomed);
    const layer = doomed.blobs[2] ?? doomed.manifest;
    const path = `team/doomed/blobs/${layer.digest}`;
    const part = await api.request("GET", path, { headers: { range: "bytes=16777210-33554440" } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(layer.bytes.subarray(16777210, 33554441))).toBe(true);

    expect(await stored()).toEqual(contentsOf(doomed, kept));
    await api.request("DELETE", `team/doomed/manifests/${doomed.manifest.digest}`);
    await eventually(async () => expect(await stored()).toEqual(contentsOf(kept)), 30_000);
    await expectPullable(api, "team/kept", kept);
    await api.pushImage("team/doomed", "again", doomed);
    await expectPullable(api, "team/doomed", doomed);
    const spool = join(registry.data, "spool");
    expect([await readdir(join(spool, "ingest")), await readdir(join(spool, "uploads"))]).toEqual([[], []]);
  });

  it("reads a cold blob upstream once for everybody, while it is written", async () => {
    await start();
    const image = makeImage([20 * MiB]);
    await upstream.api.pushImage(`${driver}/cold`, "v1", image);
    upstream.proxy.reset();
    upstream.proxy.throttle(20e6);
    const name = `${UPSTREAM_NAME}/${driver}/cold`;
    await api.get(`${name}/manifests/v1`);
    const layer = image.blobs[1] ?? image.manifest;
    const pulls = Array.from({ length: 8 }, () => download(`${registry.url}/v2/${name}/blobs/${layer.digest}`));
    for (const { digest, cut } of await Promise.all(pulls)) expect([digest, cut]).toEqual([layer.digest, false]);
    await eventually(async () => expect(await stored()).toContain(layer.digest));
    upstream.proxy.throttle(undefined);
    await expectPullable(api, name, image);
    expect(upstream.fetchedTwice()).toEqual([]);
  });

  it("answers 5xx soon while the store is away or hangs, forgets nothing, and is well when it is back", async () => {
    await start();
    const image = makeImage([200_000]);
    await api.pushImage("away/app", "v1", image);
    const path = `away/app/blobs/${image.blobs[1]?.digest}`;
    const within = async (milliseconds: number): Promise<number> => {
      const began = performance.now();
      const { status } = await api.request("GET", path);
      expect(performance.now() - began).toBeLessThan(milliseconds);
      return status;
    };
    server.freeze();
    try {
      expect(await within(9_000)).toBe(503);
    } finally {
      server.thaw();
    }
    await server.stop();
    try {
      expect(await within(5_000)).toBe(503);
    } finally {
      await server.start();
    }
    await expectPullable(api, "away/app", image);
    await api.pushImage("away/app", "v2", makeImage([1_000]));
    expect(registry.output()).not.toContain(AZURE_KEY);
    expect(registry.output()).not.toMatch(/SharedKey|sig=/);
  });
});

describe("a registry that redirects to Azure", () => {
  it("sends clients there with a signature that lets them read one blob", async () => {
    const server = await startAzureServer();
    const storage = server.storage("redirecting", { redirect: "presigned" });
    const registry = await startRegistryProcess({ storage });
    try {
      const api = createRegistryApi(registry.url);
      const image = makeImage([100_000]);
      await api.pushImage("team/app", "v1", image);
      const [config = image.manifest, layer = image.manifest] = image.blobs;
      const redirect = await api.request("GET", `team/app/blobs/${layer.digest}`);
      expect([redirect.status, redirect.headers.get("cache-control")]).toEqual([307, "no-store"]);
      const location = redirect.headers.get("location") ?? "";
      expect(location.startsWith(`${server.endpoint}/images/redirecting/blobs/sha256/`)).toBe(true);
      const part = await fetch(location, { headers: { range: "bytes=10-19" } });
      expect(part.status).toBe(206);
      expect(Buffer.from(await part.arrayBuffer()).equals(layer.bytes.subarray(10, 20))).toBe(true);
      const hex = (digest: string) => digest.slice("sha256:".length);
      expect((await fetch(location.replace(hex(layer.digest), hex(config.digest)))).status).toBe(403);
      expect((await fetch(location, { method: "DELETE" })).status).toBe(403);
      expect(registry.output()).not.toContain("sig=");
    } finally {
      await registry.dispose();
      await server.dispose();
    }
  });
});
