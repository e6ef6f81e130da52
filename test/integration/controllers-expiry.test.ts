import { describe, expect, it } from "vitest";
import { findCondition } from "../../packages/kube/src/conditions.ts";
import { CACHED_IMAGES, PODS, REPLICA_SETS } from "../../packages/kube/src/resource.ts";
import { cachedImage, cachedPod, exists, FAST, OWNER, plainPod } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";

const NGINX = "docker.io/library/nginx:1.27";
const bench = useBench();

describe("expiry", () => {
  it("announces, waits, deletes the record and releases the image", async () => {
    // No sweep in between, which may ask for the same.
    bench.run({ timing: { ...FAST, sweep: 60_000 } });
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const { metadata } = await bench.phaseIs(NGINX, "Ready");
    await bench.client.delete(PODS, { namespace: "default", name: "web" });
    const expiring = await bench.phaseIs(NGINX, "Expiring");
    const { unusedSince, expiresAt } = expiring.status ?? {};
    expect(Date.parse(expiresAt ?? "") - Date.parse(unusedSince ?? "")).toBe(3_000);
    expect(expiring.status?.usedBy).toEqual({ count: 0 });
    await eventually(async () => expect(await exists(bench.client, NGINX)).toBe(false));
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt ?? ""));
    await eventually(() => expect(bench.registry.images.has(NGINX)).toBe(false));
    expect(bench.registry.calls.filter((call) => call === `DELETE ${NGINX}`)).toHaveLength(1);
    await eventually(async () => {
      expect(await bench.eventReasons(metadata.name)).toEqual(["Expired", "Expiring", "Warmed"]);
    });
  });

  it("is cancelled by a pod that comes back in time", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const { metadata } = await bench.phaseIs(NGINX, "Ready");
    await bench.client.delete(PODS, { namespace: "default", name: "web" });
    await bench.phaseIs(NGINX, "Expiring");
    await bench.client.create(PODS, plainPod("back", "nginx:1.27"));
    const ready = await bench.phaseIs(NGINX, "Ready");
    expect(ready.status?.unusedSince).toBeUndefined();
    expect(ready.status?.expiresAt).toBeUndefined();
    expect(ready.metadata.uid).toBe(metadata.uid);
  });

  it("does not count pods that are over", async () => {
    bench.run();
    const pod = await bench.client.create(PODS, cachedPod("batch", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    const over = { apiVersion: "v1", kind: "Pod", metadata: pod.metadata, status: { phase: "Succeeded" } };
    const { name, namespace } = pod.metadata;
    const named = { ...over, metadata: { name, namespace } };
    await bench.client.apply(PODS, named, { fieldManager: "kubelet", subresource: "status" });
    expect((await bench.phaseIs(NGINX, "Expiring")).status?.usedBy).toEqual({ count: 0 });
  });

  it("never takes what an owner would start: a ReplicaSet at zero, until newer revisions have come", async () => {
    bench.run();
    await bench.client.create(REPLICA_SETS, replicaSet(1, "nginx:1.27"));
    await bench.client.create(CACHED_IMAGES, cachedImage("by-hand", { sourceImage: NGINX }));
    const kept = await eventually(async () => {
      const record = await bench.client.get(CACHED_IMAGES, { name: "by-hand" });
      expect(record.status?.phase).toBe("Ready");
      return record;
    });
    expect(findCondition(kept.status?.conditions, "InUse")).toMatchObject({ status: "True", reason: "NamedByOwners" });
    for (const revision of [2, 3]) await bench.client.create(REPLICA_SETS, replicaSet(revision, "nginx:1.28"));
    await eventually(async () => {
      expect((await bench.client.get(CACHED_IMAGES, { name: "by-hand" })).status?.phase).toBe("Expiring");
    });
  });

  it("keeps and warms what is marked retain, and lets it go when the mark goes", async () => {
    bench.run({ expiryDelay: 500 });
    await bench.client.create(CACHED_IMAGES, cachedImage("kept", { sourceImage: "nginx:1.27", retain: true }));
    const kept = await eventually(async () => {
      const record = await bench.client.get(CACHED_IMAGES, { name: "kept" });
      expect(record.status).toMatchObject({ phase: "Ready", usedBy: { count: 0 } });
      return record;
    });
    expect(kept.status?.expiresAt).toBeUndefined();
    expect(bench.registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER]));
    const released = cachedImage("kept", { sourceImage: "nginx:1.27", retain: false });
    await bench.client.apply(CACHED_IMAGES, released, { fieldManager: "user" });
    await eventually(async () => expect((await bench.client.list(CACHED_IMAGES)).items).toEqual([]));
    await eventually(() => expect(bench.registry.images.has(NGINX)).toBe(false));
  });

  it("releases what was deleted while nobody watched, and only its own", async () => {
    const left = new Set([NGINX, "ghcr.io/other/app:1"]);
    const orphan = { state: "ready" as const, progress: 100, size: 1, platforms: undefined };
    for (const name of ["a", "b", "c", "d", "e"]) {
      bench.registry.images.set(`ghcr.io/orphan/${name}:1`, { ...orphan, owners: new Set([OWNER]) });
    }
    bench.registry.images.set("ghcr.io/other/app:1", { ...orphan, owners: new Set(["another-cluster"]) });
    bench.run();
    await bench.client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await bench.phaseIs(NGINX, "Ready");
    await eventually(() => expect(new Set(bench.registry.images.keys())).toEqual(left));
  });

  it("says so when the reference is none", async () => {
    bench.run();
    await bench.client.create(CACHED_IMAGES, cachedImage("bad", { sourceImage: "No:Such:Image", retain: true }));
    await eventually(async () => {
      const { status } = await bench.client.get(CACHED_IMAGES, { name: "bad" });
      expect(status?.phase).toBe("Failed");
      expect(findCondition(status?.conditions, "Ready")?.reason).toBe("InvalidReference");
    });
  });
});

function replicaSet(revision: number, image: string) {
  const labels = { app: "web" };
  const controller = { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid: "0d6f", controller: true };
  const annotations = { "deployment.kubernetes.io/revision": String(revision) };
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { name: `web-${revision}`, namespace: "default", annotations, ownerReferences: [controller] },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "main", image }] } },
    },
  };
}
