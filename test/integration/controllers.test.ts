import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CachedImage } from "../../packages/kube/src/cached-image.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { findCondition } from "../../packages/kube/src/conditions.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { CACHED_IMAGES, EVENTS, PODS, REPLICA_SETS, type Resource } from "../../packages/kube/src/resource.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import {
  applyDefinition,
  cachedPod,
  clean,
  connect,
  exists,
  FAST,
  OWNER,
  plainPod,
  type RunningTerm,
  recordOf,
  runTerm,
} from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeManagementApi, startFakeManagementApi } from "../support/fake-management-api.ts";

const NGINX = "docker.io/library/nginx:1.27";

let server: ApiServer;
let client: KubeClient;
let registry: FakeManagementApi;
let running: RunningTerm;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
});

beforeEach(async () => {
  registry = await startFakeManagementApi();
});

afterEach(async () => {
  await running?.stop();
  await registry.close();
  await clean(client, [REPLICA_SETS as Resource<KubeObject>]);
});

async function phaseIs(reference: string, phase: string): Promise<CachedImage> {
  return eventually(async () => {
    const record = await recordOf(client, reference);
    expect(record.status?.phase).toBe(phase);
    return record;
  });
}

/** Reasons in the order of their writing. */
async function eventReasons(name: string): Promise<string[]> {
  const { items } = await client.list(EVENTS as Resource<KubeObject & { reason: string; regarding: { name: string } }>);
  return items.filter(({ regarding }) => regarding.name === name).map(({ reason }) => reason);
}

describe("recording", () => {
  it("makes one CachedImage per image, however many labelled pods name it", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("one", ["docker.io/library/nginx:1.27", "ghcr.io/team/app"]));
    for (const name of ["two", "three"]) await client.create(PODS, cachedPod(name, ["docker.io/library/nginx:1.27"]));
    await eventually(async () => {
      const record = await recordOf(client, NGINX);
      expect(record.status?.usedBy).toEqual({ count: 3, pods: ["default/one", "default/three", "default/two"] });
    });
    const { items } = await client.list(CACHED_IMAGES);
    expect(items.map(({ spec }) => spec.sourceImage).sort()).toEqual([NGINX, "ghcr.io/team/app:latest"]);
    expect(registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER]));
  });

  it("counts a pod that names the image without our label, and records nothing for it", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, plainPod("plain", "redis:7"));
    await client.create(PODS, plainPod("other", "nginx:1.27"));
    await client.create(PODS, cachedPod("cached", ["docker.io/library/nginx:1.27"]));
    await eventually(async () => expect((await recordOf(client, NGINX)).status?.usedBy?.count).toBe(2));
    expect(await exists(client, "docker.io/library/redis:7")).toBe(false);
  });

  it("records in mirror mode what labelled pods name, unless they bring pull secrets", async () => {
    running = runTerm(client, registry.url, { mode: "mirror" });
    const labels = { "cache-registry.enix.io/managed": "true" };
    const secret = plainPod("private", "quay.io/secret/app:1");
    const spec = { ...secret.spec, imagePullSecrets: [{ name: "pull" }] };
    await client.create(PODS, { ...secret, metadata: { ...secret.metadata, labels }, spec });
    const open = plainPod("open", "nginx:1.27");
    await client.create(PODS, { ...open, metadata: { ...open.metadata, labels } });
    await phaseIs(NGINX, "Ready");
    expect(await exists(client, "quay.io/secret/app:1")).toBe(false);
  });

  it("makes a record again that somebody deleted while pods use the image", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const before = await phaseIs(NGINX, "Ready");
    await client.delete(CACHED_IMAGES, before.metadata);
    await eventually(async () => {
      const after = await recordOf(client, NGINX);
      expect(after.metadata.uid).not.toBe(before.metadata.uid);
      expect(after.status?.phase).toBe("Ready");
    });
    await eventually(() => expect(registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER])));
  });

  it("keeps of a pod only what it needs in memory", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    const metrics = await running.metrics.text();
    expect(metrics).toContain('cache_registry_kube_watch_objects{resource="pods"} 1');
    for (const image of running.term.images()) expect(image.metadata.managedFields).toBeUndefined();
  });
});

describe("warming", () => {
  it("follows Pending, Pulling with progress, Ready", async () => {
    registry.outcome = () => ({ state: "pending", progress: 0, size: 4_000 });
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Pending");
    const image = registry.images.get(NGINX);
    if (!image) throw new Error("the image was not asked for");
    Object.assign(image, { state: "pulling", progress: 40 });
    const pulling = await phaseIs(NGINX, "Pulling");
    expect(pulling.status?.progress).toBe(40);
    image.progress = 75;
    await eventually(async () => expect((await recordOf(client, NGINX)).status?.progress).toBe(75));
    Object.assign(image, { state: "ready", progress: 100 });
    const { status, metadata } = await phaseIs(NGINX, "Ready");
    expect(status).toMatchObject({ progress: 100, size: 4_000, digest: `sha256:${"a".repeat(64)}` });
    expect(findCondition(status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Cached" });
    expect(findCondition(status?.conditions, "InUse")).toMatchObject({ status: "True", reason: "NamedByPods" });
    await eventually(async () => expect(await eventReasons(metadata.name)).toEqual(["Warmed"]));
  });

  it("says why a warm-up failed, and tries again", async () => {
    let attempts = 0;
    registry.outcome = () => {
      attempts += 1;
      return attempts < 3 ? { state: "failed", error: "upstream says 404", progress: 0 } : {};
    };
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const failed = await phaseIs(NGINX, "Failed");
    expect(findCondition(failed.status?.conditions, "Ready")).toMatchObject({
      status: "False",
      reason: "WarmUpFailed",
      message: "The image could not be fetched: upstream says 404. It is tried again.",
    });
    await phaseIs(NGINX, "Ready");
    expect(attempts).toBe(3);
    await eventually(async () => {
      expect((await eventReasons(failed.metadata.name)).sort()).toEqual(["WarmUpFailed", "Warmed"]);
    });
  });

  it("asks again for everything when the registry was restarted with an empty store", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    registry.restart({ keep: false });
    await eventually(() => expect(registry.images.get(NGINX)?.state).toBe("ready"));
  });

  it("asks again for an image that the running registry lost", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    registry.images.clear();
    await eventually(() => expect(registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER])));
  });

  it("goes on recording while the registry is away, and warms when it is back", async () => {
    registry.failWith = 503;
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const pending = await phaseIs(NGINX, "Pending");
    expect(findCondition(pending.status?.conditions, "Ready")?.reason).toBe("RegistryUnreachable");
    expect(pending.status?.usedBy?.count).toBe(1);
    registry.failWith = undefined;
    await phaseIs(NGINX, "Ready");
  });

  it("passes on the platforms of the object, else those of the configuration", async () => {
    running = runTerm(client, registry.url, { platforms: ["linux/amd64"] });
    const own = { sourceImage: "ghcr.io/team/app:1", retain: true, platforms: ["linux/arm64"] };
    await client.create(CACHED_IMAGES, definition("own", own));
    await client.create(CACHED_IMAGES, definition("plain", { sourceImage: "ghcr.io/team/app:2", retain: true }));
    await eventually(() => {
      expect(registry.images.get("ghcr.io/team/app:1")?.platforms).toEqual(["linux/arm64"]);
      expect(registry.images.get("ghcr.io/team/app:2")?.platforms).toEqual(["linux/amd64"]);
    });
  });

  it("writes nothing while nothing changes", async () => {
    running = runTerm(client, registry.url, { timing: { ...FAST, resync: 300 } });
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    const before = await recordOf(client, NGINX);
    const asked = registry.calls.length;
    await eventually(() => expect(registry.calls.length).toBeGreaterThan(asked + 10));
    expect((await recordOf(client, NGINX)).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  });
});

describe("expiry", () => {
  it("announces, waits, deletes the record and releases the image", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const { metadata } = await phaseIs(NGINX, "Ready");
    await client.delete(PODS, { namespace: "default", name: "web" });
    const expiring = await phaseIs(NGINX, "Expiring");
    const { unusedSince, expiresAt } = expiring.status ?? {};
    expect(Date.parse(expiresAt ?? "") - Date.parse(unusedSince ?? "")).toBe(3_000);
    expect(expiring.status?.usedBy).toEqual({ count: 0 });
    await eventually(async () => expect(await exists(client, NGINX)).toBe(false));
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt ?? ""));
    await eventually(() => expect(registry.images.has(NGINX)).toBe(false));
    expect(registry.calls.filter((call) => call === `DELETE ${NGINX}`)).toHaveLength(1);
    await eventually(async () => {
      expect((await eventReasons(metadata.name)).sort()).toEqual(["Expired", "Expiring", "Warmed"]);
    });
  });

  it("is cancelled by a pod that comes back in time", async () => {
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    const { metadata } = await phaseIs(NGINX, "Ready");
    await client.delete(PODS, { namespace: "default", name: "web" });
    await phaseIs(NGINX, "Expiring");
    await client.create(PODS, plainPod("back", "nginx:1.27"));
    const ready = await phaseIs(NGINX, "Ready");
    expect(ready.status?.unusedSince).toBeUndefined();
    expect(ready.status?.expiresAt).toBeUndefined();
    expect(ready.metadata.uid).toBe(metadata.uid);
  });

  it("does not count pods that are over", async () => {
    running = runTerm(client, registry.url);
    const pod = await client.create(PODS, cachedPod("batch", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    const over = { apiVersion: "v1", kind: "Pod", metadata: pod.metadata, status: { phase: "Succeeded" } };
    const { name, namespace } = pod.metadata;
    const named = { ...over, metadata: { name, namespace } };
    await client.apply(PODS, named, { fieldManager: "kubelet", subresource: "status" });
    await phaseIs(NGINX, "Expiring");
  });

  it("never takes what an owner would start: a ReplicaSet at zero, until newer revisions have come", async () => {
    running = runTerm(client, registry.url);
    await client.create(REPLICA_SETS, replicaSet(1, "nginx:1.27"));
    await client.create(CACHED_IMAGES, definition("by-hand", { sourceImage: NGINX }));
    const kept = await eventually(async () => {
      const record = await client.get(CACHED_IMAGES, { name: "by-hand" });
      expect(record.status?.phase).toBe("Ready");
      return record;
    });
    expect(findCondition(kept.status?.conditions, "InUse")).toMatchObject({ status: "True", reason: "NamedByOwners" });
    for (const revision of [2, 3]) await client.create(REPLICA_SETS, replicaSet(revision, "nginx:1.28"));
    await eventually(async () => {
      expect((await client.get(CACHED_IMAGES, { name: "by-hand" })).status?.phase).toBe("Expiring");
    });
  });

  it("keeps and warms what is marked retain, and lets it go when the mark goes", async () => {
    running = runTerm(client, registry.url, { expiryDelay: 500 });
    await client.create(CACHED_IMAGES, definition("kept", { sourceImage: "nginx:1.27", retain: true }));
    const kept = await eventually(async () => {
      const record = await client.get(CACHED_IMAGES, { name: "kept" });
      expect(record.status).toMatchObject({ phase: "Ready", usedBy: { count: 0 } });
      return record;
    });
    expect(kept.status?.expiresAt).toBeUndefined();
    expect(registry.images.get(NGINX)?.owners).toEqual(new Set([OWNER]));
    const { apiVersion, kind } = CACHED;
    const spec = { sourceImage: "nginx:1.27", retain: false };
    await client.apply(CACHED_IMAGES, { apiVersion, kind, metadata: { name: "kept" }, spec }, { fieldManager: "user" });
    await eventually(async () => expect((await client.list(CACHED_IMAGES)).items).toEqual([]));
    await eventually(() => expect(registry.images.has(NGINX)).toBe(false));
  });

  it("releases what was deleted while nobody watched, and only its own", async () => {
    const orphan = { state: "ready" as const, progress: 100, size: 1, platforms: undefined };
    for (const name of ["a", "b", "c", "d", "e"]) {
      registry.images.set(`ghcr.io/orphan/${name}:1`, { ...orphan, owners: new Set([OWNER]) });
    }
    registry.images.set("ghcr.io/other/app:1", { ...orphan, owners: new Set(["another-cluster"]) });
    running = runTerm(client, registry.url);
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await phaseIs(NGINX, "Ready");
    await eventually(() => expect([...registry.images.keys()].sort()).toEqual([NGINX, "ghcr.io/other/app:1"]));
  });

  it("says so when the reference is none", async () => {
    running = runTerm(client, registry.url);
    await client.create(CACHED_IMAGES, definition("bad", { sourceImage: "No:Such:Image", retain: true }));
    await eventually(async () => {
      const { status } = await client.get(CACHED_IMAGES, { name: "bad" });
      expect(status?.phase).toBe("Failed");
      expect(findCondition(status?.conditions, "Ready")?.reason).toBe("InvalidReference");
    });
  });
});

const CACHED = { apiVersion: "cache-registry.enix.io/v1alpha1", kind: "CachedImage" };

function definition(name: string, spec: CachedImage["spec"]): CachedImage {
  return { ...CACHED, metadata: { name }, spec };
}

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
