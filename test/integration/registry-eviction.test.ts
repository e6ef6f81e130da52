import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { mountSmallVolume } from "../support/small-volume.ts";
import { type Image, makeImage, makeIndex } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let upstream: UpstreamRegistry;
let registry: RegistryProcess | undefined;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
});
afterEach(async () => {
  await registry?.dispose();
  registry = undefined;
});
afterAll(() => upstream?.dispose());

type Scene = {
  readonly api: RegistryApi;
  readonly management: string;
  metric(name: string, labels?: Record<string, string>): Promise<number | undefined>;
};

async function start(configuration: object): Promise<Scene> {
  registry = await startRegistryProcess({ ...upstream.configuration(), ...configuration });
  const { url, management } = registry;
  return {
    api: createRegistryApi(url),
    management,
    metric: async (name, labels) => metricOf(await (await fetch(`${management}/metrics`)).text(), name, labels),
  };
}

const pull = (api: RegistryApi, name: string, image: Image) =>
  expectPullable(api, `${UPSTREAM_NAME}/${name}`, image, "v1");

/** Pushed upstream as `<prefix>/<n>`. */
async function publish(prefix: string, count: number, size: number): Promise<{ name: string; image: Image }[]> {
  const images: { name: string; image: Image }[] = [];
  for (let index = 0; index < count; index += 1) {
    const image = makeImage([size]);
    const name = `${prefix}/${index}`;
    await upstream.api.pushImage(name, "v1", image);
    images.push({ name, image });
  }
  return images;
}

/** Which of the images are held: a manifest that is, is answered without a question to the upstream. */
async function heldOf(scene: Scene, images: readonly { name: string; image: Image }[]): Promise<boolean[]> {
  return Promise.all(
    images.map(async ({ name }) => {
      const reference = encodeURIComponent(`${UPSTREAM_NAME}/${name}:v1`);
      const answer = await fetch(`${scene.management}/api/v1/images/${reference}`);
      return answer.ok && ((await answer.json()) as { state: string }).state === "ready";
    }),
  );
}

const put = (scene: Scene, name: string, pin: boolean) =>
  fetch(`${scene.management}/api/v1/images/${encodeURIComponent(`${UPSTREAM_NAME}/${name}:v1`)}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ pin, owner: "test" }),
  });
const stateOf = async (scene: Scene, name: string) =>
  (await (
    await fetch(`${scene.management}/api/v1/images/${encodeURIComponent(`${UPSTREAM_NAME}/${name}:v1`)}`)
  ).json()) as { state: string; error?: string; reason?: string };

describe.each([["filesystem"], ["memory"]])("a cache with a quota (%s)", (driver) => {
  const storage = driver === "memory" ? { blobs: { driver: "memory" } } : {};

  it("gives back the least recently used images, whole, and keeps what was pushed", { timeout: 90_000 }, async () => {
    const scene = await start({ storage: { ...storage, maxSize: "12Mi" } });
    const pushed = makeImage([8 * MiB]);
    await scene.api.pushImage("team/app", "v1", pushed);
    const images = await publish(`lru-${driver}`, 6, 3 * MiB);
    const [first] = images;
    if (!first) throw new Error("six images");
    for (const { name, image } of images.slice(0, 3)) await pull(scene.api, name, image);
    await scene.api.get(`${UPSTREAM_NAME}/${first.name}/manifests/v1`);
    for (const { name, image } of images.slice(3)) await pull(scene.api, name, image);
    await eventually(async () => {
      expect(await scene.metric("cache_registry_store_bytes", { kind: "cached" })).toBeLessThanOrEqual(0.85 * 12 * MiB);
    }, 30_000);
    expect(await scene.metric("cache_registry_cache_quota_bytes")).toBe(12 * MiB);
    expect(await scene.metric("cache_registry_evictions_total", { reason: "quota" })).toBeGreaterThan(0);
    const held = await heldOf(scene, images);
    // The one that was pulled again outlived the two that came after it.
    expect(held.slice(1, 3)).toEqual([false, false]);
    expect(held.at(-1)).toBe(true);
    expect(held.filter(Boolean).length).toBeGreaterThanOrEqual(2);
    for (const { digest, bytes } of pushed.blobs) {
      expect((await scene.api.get(`team/app/blobs/${digest}`)).equals(bytes)).toBe(true);
    }
    // What went comes back.
    for (const { name, image } of images) await pull(scene.api, name, image);
  });
});

describe("pinned content", () => {
  it("stays when others go; a warm-up that does not fit beside it waits with NoSpace", {
    timeout: 120_000,
  }, async () => {
    const scene = await start({ storage: { maxSize: "16Mi" } });
    const images = await publish("pinned", 3, 6 * MiB);
    const others = await publish("unpinned", 3, 2 * MiB);
    const [a, b, c] = images;
    if (!a || !b || !c) throw new Error("three images");
    for (const { name } of [a, b]) {
      await put(scene, name, true);
      await eventually(async () => expect(await stateOf(scene, name)).toMatchObject({ state: "ready" }));
    }
    for (const { name, image } of others) await pull(scene.api, name, image);
    await put(scene, c.name, true);
    await eventually(async () =>
      expect(await stateOf(scene, c.name)).toMatchObject({ state: "failed", reason: "NoSpace" }),
    );
    await eventually(async () => expect(await heldOf(scene, others)).toContain(false), 30_000);
    expect((await stateOf(scene, c.name)).error).toMatch(/no space: .*storage\.maxSize/);
    expect(await heldOf(scene, [a, b])).toEqual([true, true]);

    const deleted = await fetch(
      `${scene.management}/api/v1/images/${encodeURIComponent(`${UPSTREAM_NAME}/${b.name}:v1`)}?owner=test`,
      { method: "DELETE" },
    );
    expect(deleted.status).toBe(204);
    await put(scene, c.name, true);
    await eventually(async () => {
      const { state } = await stateOf(scene, c.name);
      if (state === "failed") await put(scene, c.name, true);
      expect(state).toBe("ready");
    }, 40_000);
    expect(await heldOf(scene, [a])).toEqual([true]);
  });

  it("goes for a pod's pull, and only as much as that needs", { timeout: 90_000 }, async () => {
    const scene = await start({ storage: { maxSize: "16Mi" } });
    const [a, b, c] = await publish("needed", 3, 7 * MiB);
    if (!a || !b || !c) throw new Error("three images");
    for (const { name } of [a, b]) {
      await put(scene, name, true);
      await eventually(async () => expect(await stateOf(scene, name)).toMatchObject({ state: "ready" }));
    }
    // The pinned ones are no longer what somebody pulls right now before the pull ends.
    upstream.proxy.throttle(0.5 * MiB);
    await pull(scene.api, c.name, c.image);
    upstream.proxy.throttle(undefined);
    expect(await scene.metric("cache_registry_evictions_total", { pinned: "true" })).toBe(1);
    expect((await heldOf(scene, [a, b])).filter(Boolean)).toHaveLength(1);
  });
});

describe("a volume that is smaller than what is pulled", () => {
  it("is kept from filling up, without a quota that anybody set", { timeout: 120_000 }, async () => {
    const volume = await mountSmallVolume(96 * MiB);
    try {
      const scene = await start({ storage: volume.storage });
      for (let round = 0; round < 4; round += 1) {
        const index = makeIndex({ amd64: makeImage([12 * MiB]), arm64: makeImage([12 * MiB, MiB]) });
        await upstream.api.pushImage(`volume/${round}`, "v1", index);
        expect(await scene.api.get(`${UPSTREAM_NAME}/volume/${round}/manifests/v1`)).toEqual(index.manifest.bytes);
        for (const { manifest, blobs } of index.images) {
          const path = `${UPSTREAM_NAME}/volume/${round}`;
          expect(await scene.api.get(`${path}/manifests/${manifest.digest}`)).toEqual(manifest.bytes);
          for (const { digest, bytes } of blobs) {
            expect((await scene.api.get(`${path}/blobs/${digest}`)).equals(bytes)).toBe(true);
          }
        }
      }
      await eventually(async () => expect(await volume.free()).toBeGreaterThan(10 * MiB), 30_000);
      expect(await scene.metric("cache_registry_evictions_total")).toBeGreaterThan(0);
      expect(await scene.metric("cache_registry_cache_quota_bytes")).toBe(Math.floor(0.85 * 96 * MiB));
    } finally {
      await registry?.dispose();
      registry = undefined;
      await volume.dispose();
    }
  });
});
