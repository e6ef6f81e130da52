import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { mountSmallVolume, type SmallVolume } from "../support/small-volume.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let upstream: UpstreamRegistry;
let volume: SmallVolume;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  volume = await mountSmallVolume(96 * MiB);
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    storage: volume.storage,
    gc: { grace: "1s" },
  });
  api = createRegistryApi(registry.url);
});
afterEach(async () => {
  upstream.proxy.throttle(undefined);
  await volume.clear();
  await whenFull(0);
});
afterAll(async () => {
  await registry?.dispose();
  await volume?.dispose();
  await upstream?.dispose();
});

const metric = async (name: string, labels = {}) =>
  metricOf(await (await fetch(`${registry.management}/metrics`)).text(), name, labels);
const whenFull = (full: 0 | 1) => eventually(async () => expect(await metric("cache_registry_disk_full")).toBe(full));
/** Until it stays full: what is cached is evicted meanwhile. What was freed of the reserve is left alone. */
const fillUp = () =>
  eventually(async () => {
    if ((await metric("cache_registry_disk_full")) === 0) await volume.fill(0);
    await whenFull(1);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(await metric("cache_registry_disk_full")).toBe(1);
  });
const isStored = async (digest: string) =>
  (await stat(join(volume.path, "data/blobs", ...digest.split(":"))).catch(() => undefined)) !== undefined;
const up = (repository: string) => `${UPSTREAM_NAME}/${repository}`;

describe("a full disk", () => {
  it("fails no pull: what cannot be stored is passed on; it says so; and it recovers by itself", async () => {
    const kept = makeImage([MiB]);
    await api.pushImage("kept/app", "v1", kept);
    const image = makeImage([20 * MiB, 3 * MiB]);
    await upstream.api.pushImage("cold/app", "v1", image);
    await fillUp();

    const pulls = [1, 2, 3].map(async () => {
      expect(await api.get(`${up("cold/app")}/manifests/v1`)).toEqual(image.manifest.bytes);
      for (const { digest, bytes } of image.blobs) {
        const head = await api.request("HEAD", `${up("cold/app")}/blobs/${digest}`);
        expect([head.status, head.headers.get("content-length")]).toEqual([200, String(bytes.length)]);
        expect((await api.get(`${up("cold/app")}/blobs/${digest}`)).equals(bytes)).toBe(true);
        const range = { headers: { range: `bytes=${bytes.length - 10}-` } };
        const part = await api.request("GET", `${up("cold/app")}/blobs/${digest}`, range);
        expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(-10))).toBe(true);
      }
    });
    await Promise.all(pulls);
    expect(await api.get(`${up("cold/app")}/manifests/${image.manifest.digest}`)).toEqual(image.manifest.bytes);
    expect(await api.get("kept/app/manifests/v1")).toEqual(kept.manifest.bytes);
    for (const { digest } of image.blobs) expect(await isStored(digest)).toBe(false);

    expect(await readdir(join(volume.path, "data"))).not.toContain("reserve");
    expect(await metric("cache_registry_disk_reserve_bytes")).toBe(0);
    expect(
      await metric("cache_registry_not_stored_total", { kind: "manifest", upstream: UPSTREAM_NAME }),
    ).toBeGreaterThan(0);
    const ready = await fetch(`${registry.management}/readyz?verbose`);
    expect([ready.status, await ready.text()]).toEqual([200, expect.stringMatching(/\[!\] disk: full/)]);

    await volume.clear();
    await whenFull(0);
    expect(await metric("cache_registry_disk_reserve_bytes")).toBeGreaterThan(MiB);
    expect(await api.get(`${up("cold/app")}/manifests/v1`)).toEqual(image.manifest.bytes);
    for (const { digest, bytes } of image.blobs) {
      expect((await api.get(`${up("cold/app")}/blobs/${digest}`)).equals(bytes)).toBe(true);
      await eventually(async () => expect(await isStored(digest)).toBe(true));
    }
    expect(await (await fetch(`${registry.management}/readyz?verbose`)).text()).toContain("[+] disk: ok");
  });

  it("that fills up in the middle of a cold pull disturbs none of its clients, slow or fast", async () => {
    const blob = randomBlob(24 * MiB);
    await upstream.api.pushBlob("cold/middle", blob);
    await volume.fill(16 * MiB);
    upstream.proxy.throttle(8 * MiB);
    const url = `${registry.url}/v2/${up("cold/middle")}/blobs/${blob.digest}`;
    const clients = await Promise.all([
      download(url),
      download(url, { pace: 6 * MiB }),
      download(url),
      download(url, { headers: { range: `bytes=${MiB}-` } }),
    ]);
    for (const { cut, size } of clients) expect([cut, size > 22 * MiB]).toEqual([false, true]);
    for (const { digest } of clients.slice(0, 3)) expect(digest).toBe(blob.digest);
    expect(await isStored(blob.digest)).toBe(false);
  });

  it("takes no push, and says why; the next one works when there is room", async () => {
    const blob = randomBlob(2 * MiB);
    const image = makeImage([4 * MiB]);
    await fillUp();
    const begun = await api.request("POST", "full/app/blobs/uploads/");
    const location = begun.headers.get("location") ?? "";
    const refused =
      begun.status === 202
        ? await api.request("PUT", `${location}?digest=${blob.digest}`, { body: blob.bytes })
        : begun;
    expect(refused.status).toBe(507);
    expect(await errorOf(refused)).toMatchObject({
      code: "INSUFFICIENT_STORAGE",
      message: expect.stringContaining("full"),
    });
    const document = await api.putManifest("full/app", "v1", image.manifest);
    expect([404, 507]).toContain(document.status);
    await document.arrayBuffer();
    expect((await api.request("HEAD", `full/app/blobs/${blob.digest}`)).status).toBe(404);
    await volume.clear();
    await whenFull(0);
    await api.pushImage("full/app", "v1", image);
    expect(await api.get("full/app/manifests/v1")).toEqual(image.manifest.bytes);
  });

  it("can be deleted from: what was freed is enough to collect, and the disk is no longer full", async () => {
    const image = makeImage([16 * MiB]);
    await api.pushImage("doomed/app", "v1", image);
    await fillUp();
    const path = `doomed/app/manifests/${image.manifest.digest}`;
    expect((await api.request("DELETE", path)).status).toBe(202);
    await whenFull(0);
    for (const { digest } of image.blobs) expect(await isStored(digest)).toBe(false);
  });

  it("does not keep it from starting", async () => {
    await registry.stop();
    await volume.fill(0);
    await registry.start();
    expect(await api.get("kept/app/manifests/v1")).toHaveLength(await sizeOf("kept/app/manifests/v1"));
    expect(await readdir(join(volume.path, "data"))).not.toContain("reserve");
  });
});

async function sizeOf(path: string): Promise<number> {
  return Number((await api.request("HEAD", path)).headers.get("content-length"));
}

describe("a disk that does not work", () => {
  it("is told as such: pulls are passed on, pushes refused with 503, nothing crashes", async () => {
    const metadata = await mkdtemp(join(tmpdir(), "creg-metadata-"));
    const broken = await mountSmallVolume(64 * MiB);
    const storage = { ...broken.storage, metadata: { sqlite: { path: join(metadata, "metadata.db") } } };
    const other = await startRegistryProcess({ ...upstream.configuration(), storage });
    try {
      const otherApi = createRegistryApi(other.url);
      const [stored, cold] = [makeImage([MiB]), makeImage([2 * MiB])];
      await otherApi.pushImage("stored/app", "v1", stored);
      await upstream.api.pushImage("cold/broken", "v1", cold);
      broken.remount("ro");
      expect(await otherApi.get(`${up("cold/broken")}/manifests/v1`)).toEqual(cold.manifest.bytes);
      for (const { digest, bytes } of cold.blobs) {
        expect((await otherApi.get(`${up("cold/broken")}/blobs/${digest}`)).equals(bytes)).toBe(true);
      }
      for (const { digest, bytes } of stored.blobs) {
        expect((await otherApi.get(`stored/app/blobs/${digest}`)).equals(bytes)).toBe(true);
      }
      const blob = randomBlob(1_000);
      await expect(otherApi.pushBlob("stored/app", blob)).rejects.toThrow(/503.*does not work: EROFS/);
      broken.remount("rw");
      await otherApi.pushBlob("stored/app", blob);
      expect((await otherApi.get(`stored/app/blobs/${blob.digest}`)).equals(blob.bytes)).toBe(true);
    } finally {
      await other.dispose();
      await broken.dispose();
      await rm(metadata, { recursive: true, force: true });
    }
  });
});
