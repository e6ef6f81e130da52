import { describe, expect, it } from "vitest";
import { findCondition } from "../../packages/kube/src/conditions.ts";
import { CACHED_IMAGES, PODS } from "../../packages/kube/src/resource.ts";
import { cachedImage, cachedPod, exists, FAST, OWNER, plainPod, recordOf } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";

const NGINX = "docker.io/library/nginx:1.27";
const bench = useBench();

describe("recording", () => {
  it("makes one CachedImage per image, however many labelled pods name it", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("one", ["docker.io/library/nginx:1.27", "ghcr.io/team/app"]));
    for (const name of ["two", "three"])
      await bench.client.create(PODS, cachedPod(name, ["docker.io/library/nginx:1.27"]));
    await eventually(async () => {
      const record = await recordOf(bench.client, NGINX);
      expect(record.status?.usedBy).toEqual({ count: 3, pods: ["default/one", "default/three", "default/two"] });
    });
    const { items } = await bench.client.list(CACHED_IMAGES);
    expect(items.map(({ spec }) => spec.sourceImage).sort()).toEqual([NGINX, "ghcr.io/team/app:latest"]);
    expect(bench.registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER]));
  });

  it("counts a pod that names the image without our label, and records nothing for it", async () => {
    bench.run();
    await bench.client.create(PODS, plainPod("plain", "redis:7"));
    await bench.client.create(PODS, plainPod("other", "nginx:1.27"));
    await bench.client.create(PODS, cachedPod("cached", ["docker.io/library/nginx:1.27"]));
    await eventually(async () => expect((await recordOf(bench.client, NGINX)).status?.usedBy?.count).toBe(2));
    expect(await exists(bench.client, "docker.io/library/redis:7")).toBe(false);
  });

  it("records in mirror mode what labelled pods name, unless they bring pull secrets", async () => {
    bench.run({ mode: "mirror" });
    const labels = { "cache-registry.enix.io/managed": "true" };
    const secret = plainPod("private", "quay.io/secret/app:1");
    const spec = { ...secret.spec, imagePullSecrets: [{ name: "pull" }] };
    await bench.client.create(PODS, { ...secret, metadata: { ...secret.metadata, labels }, spec });
    const open = plainPod("open", "nginx:1.27");
    await bench.client.create(PODS, { ...open, metadata: { ...open.metadata, labels } });
    await bench.phaseIs(NGINX, "Ready");
    expect(await exists(bench.client, "quay.io/secret/app:1")).toBe(false);
  });

  it("makes a record again that somebody deleted while pods use the image", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const before = await bench.phaseIs(NGINX, "Ready");
    await bench.client.delete(CACHED_IMAGES, before.metadata);
    await eventually(async () => {
      const after = await recordOf(bench.client, NGINX);
      expect(after.metadata.uid).not.toBe(before.metadata.uid);
      expect(after.status?.phase).toBe("Ready");
    });
    await eventually(() => expect(bench.registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER])));
  });

  it("counts what it holds, and keeps no field managers", async () => {
    const running = bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    const metrics = await running.metrics.text();
    expect(metrics).toContain('cache_registry_kube_watch_objects{resource="pods"} 1');
    for (const image of running.term.images()) expect(image.metadata.managedFields).toBeUndefined();
  });
});

describe("warming", () => {
  it("follows Pending, Pulling with progress, Ready", async () => {
    bench.registry.outcome = () => ({ state: "pending", progress: 0, size: 4_000 });
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Pending");
    const image = bench.registry.images.get(NGINX);
    if (!image) throw new Error("the image was not asked for");
    Object.assign(image, { state: "pulling", progress: 40 });
    const pulling = await bench.phaseIs(NGINX, "Pulling");
    expect(pulling.status?.progress).toBe(40);
    image.progress = 75;
    await eventually(async () => expect((await recordOf(bench.client, NGINX)).status?.progress).toBe(75));
    Object.assign(image, { state: "ready", progress: 100 });
    const { status, metadata } = await bench.phaseIs(NGINX, "Ready");
    expect(status).toMatchObject({ progress: 100, size: 4_000, digest: `sha256:${"a".repeat(64)}` });
    expect(findCondition(status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Cached" });
    expect(findCondition(status?.conditions, "InUse")).toMatchObject({ status: "True", reason: "NamedByPods" });
    await eventually(async () => expect(await bench.eventReasons(metadata.name)).toEqual(["Warmed"]));
  });

  it("says why a warm-up failed, and tries again", async () => {
    let attempts = 0;
    bench.registry.outcome = () => {
      attempts += 1;
      return attempts < 3 ? { state: "failed", error: "upstream says 404", progress: 0 } : {};
    };
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const failed = await bench.phaseIs(NGINX, "Failed");
    expect(findCondition(failed.status?.conditions, "Ready")).toMatchObject({
      status: "False",
      reason: "WarmUpFailed",
      message: "The image could not be fetched: upstream says 404. It is tried again.",
    });
    await bench.phaseIs(NGINX, "Ready");
    expect(attempts).toBe(3);
    await eventually(async () => {
      expect(await bench.eventReasons(failed.metadata.name)).toEqual(["WarmUpFailed", "Warmed"]);
    });
  });

  it("writes neither status nor Event for each try of an image that keeps failing", async () => {
    let attempts = 0;
    // This test's own: the last try ends after it.
    const { registry } = bench;
    registry.outcome = (reference) => {
      attempts += 1;
      // As the registry does it: under way for longer than the pause between two tries, and then failed again.
      setTimeout(() => Object.assign(registry.images.get(reference) ?? {}, { state: "failed" }), 1_500);
      return { state: "pulling", error: "upstream says 404", progress: 0 };
    };
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const failed = await bench.phaseIs(NGINX, "Failed");
    const before = attempts;
    await eventually(() => expect(attempts).toBeGreaterThan(before + 2));
    const later = await recordOf(bench.client, NGINX);
    expect(later.metadata.resourceVersion).toBe(failed.metadata.resourceVersion);
    expect(await bench.eventReasons(failed.metadata.name)).toEqual(["WarmUpFailed"]);
  });

  it("says that there is no room, and warms when there is", async () => {
    bench.registry.outcome = () => ({ state: "failed", reason: "NoSpace", error: "no space", progress: 0 });
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const { status, metadata } = await bench.phaseIs(NGINX, "Failed");
    const condition = findCondition(status?.conditions, "Ready");
    expect(condition).toMatchObject({ status: "False", reason: "NoSpace" });
    expect(condition?.message).toMatch(/full of pinned images.*storage\.maxSize.*unpin.*\(no space\)/);
    bench.registry.outcome = () => ({});
    await bench.phaseIs(NGINX, "Ready");
    await eventually(async () => expect(await bench.eventReasons(metadata.name)).toEqual(["NoSpace", "Warmed"]));
  });

  it("asks again for everything when the registry was restarted with an empty store", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    bench.registry.restart({ keep: false });
    await eventually(() => expect(bench.registry.images.get(NGINX)?.state).toBe("ready"));
  });

  it("asks again for an image that the running registry lost", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    bench.registry.images.clear();
    await eventually(() => expect(bench.registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER])));
  });

  it("goes on recording while the registry is away, and warms when it is back", async () => {
    bench.registry.failWith = 503;
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const pending = await bench.phaseIs(NGINX, "Pending");
    expect(findCondition(pending.status?.conditions, "Ready")?.reason).toBe("RegistryUnreachable");
    expect(pending.status?.usedBy?.count).toBe(1);
    bench.registry.failWith = undefined;
    await bench.phaseIs(NGINX, "Ready");
  });

  it("passes on the platforms of the object, else those of the configuration", async () => {
    bench.run({ platforms: ["linux/amd64"] });
    const own = { sourceImage: "ghcr.io/team/app:1", retain: true, platforms: ["linux/arm64"] };
    await bench.client.create(CACHED_IMAGES, cachedImage("own", own));
    await bench.client.create(CACHED_IMAGES, cachedImage("plain", { sourceImage: "ghcr.io/team/app:2", retain: true }));
    await eventually(() => {
      expect(bench.registry.images.get("ghcr.io/team/app:1")?.platforms).toEqual(["linux/arm64"]);
      expect(bench.registry.images.get("ghcr.io/team/app:2")?.platforms).toEqual(["linux/amd64"]);
    });
  });

  it("writes nothing while nothing changes", async () => {
    bench.run({ timing: { ...FAST, resync: 300 } });
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    const before = await recordOf(bench.client, NGINX);
    const asked = bench.registry.calls.length;
    await eventually(() => expect(bench.registry.calls.length).toBeGreaterThan(asked + 10));
    expect((await recordOf(bench.client, NGINX)).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  });
});
