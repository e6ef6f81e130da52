import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type S3Server, startS3Server } from "../support/s3-server.ts";
import { type Image, makeImage } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
const QUOTA = 12 * MiB;
let s3: S3Server;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  [s3, upstream] = await Promise.all([startS3Server(), startUpstreamRegistry()]);
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    storage: { ...s3.storage("quota"), maxSize: "12Mi" },
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
  await s3?.dispose();
});

const metric = async (name: string, labels?: Record<string, string>) =>
  metricOf(await (await fetch(`${registry.management}/metrics`)).text(), `cache_registry_${name}`, labels);

/** Sizes in the bucket by digest, whatever the registry says of it. */
async function objects(): Promise<Map<string, number>> {
  const folder = join(s3.bucket, "quota", "blobs", "sha256");
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return new Map(names.map((name, index) => [`sha256:${name}`, sizes[index] ?? 0]));
}

const pull = (name: string, image: Image) => expectPullable(api, `${UPSTREAM_NAME}/${name}`, image, "v1");

describe("a quota for content in a bucket", () => {
  it("is honoured: evicted bytes leave the bucket, the newest and what was pushed stay", async () => {
    const pushed = makeImage([8 * MiB]);
    await api.pushImage("team/app", "v1", pushed);
    const own = [pushed.manifest, ...pushed.blobs];
    const images = Array.from({ length: 6 }, () => makeImage([3 * MiB]));
    for (const [index, image] of images.entries()) {
      await upstream.api.pushImage(`quota/${index}`, "v1", image);
      await pull(`quota/${index}`, image);
    }
    const cachedBytes = async (): Promise<number> => {
      const held = await objects();
      for (const { digest } of own) held.delete(digest);
      return [...held.values()].reduce((sum, size) => sum + size, 0);
    };
    await eventually(async () => expect(await cachedBytes()).toBeLessThanOrEqual(0.85 * QUOTA), 30_000);
    // The last bytes of the last image may still be on their way out.
    await eventually(async () => expect(await cachedBytes()).toBe(await metric("store_bytes", { kind: "cached" })));
    const held = await objects();
    // No more than that went: one image more would still be below the mark where eviction begins.
    expect(await cachedBytes()).toBeGreaterThan(6 * MiB);
    expect(await metric("cache_quota_bytes")).toBe(QUOTA);
    expect(await metric("evictions_total", { reason: "quota" })).toBeGreaterThanOrEqual(3);
    for (const { digest, bytes } of own) expect(held.get(digest)).toBe(bytes.length);
    // The oldest went whole, no layer and no configuration of theirs stays; the newest is whole.
    const parts = images.map(({ manifest, blobs }) => [manifest, ...blobs].map(({ digest }) => held.has(digest)));
    expect([parts[0], parts[1], parts.at(-1)]).toEqual([
      [false, false, false],
      [false, false, false],
      [true, true, true],
    ]);
    // What went comes back.
    for (const [index, image] of images.slice(0, 2).entries()) await pull(`quota/${index}`, image);
  });
});
