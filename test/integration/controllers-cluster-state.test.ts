/** What the controllers publish for the webhook, and the taints of nodes, on a real API server without kubelets. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { CLUSTER_STATE_KEY, parseClusterState } from "../../packages/core/src/cluster-state.ts";
import { isNotFound } from "../../packages/kube/src/api-error.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { CONFIG_MAPS, DAEMON_SETS, NODES, PODS, type Resource } from "../../packages/kube/src/resource.ts";
import type { ConfigMap, Node, Pod } from "../../packages/kube/src/workloads.ts";
import { CLUSTER_RULES } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";

const TAINT = "cache-registry.enix.io/proxy-not-ready";
const CONFIG_MAP = { namespace: "default", name: "cluster-state" };
const DAEMON_SET = { namespace: "default", name: "proxy" };
const cluster = { ...CLUSTER_RULES, configMap: CONFIG_MAP };
const bench = useBench();

async function published(): Promise<ConfigMap | undefined> {
  return bench.client.get(CONFIG_MAPS, CONFIG_MAP).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
}

async function state() {
  const text = (await published())?.data?.[CLUSTER_STATE_KEY];
  const parsed = parseClusterState(text ?? "");
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed.state;
}

const healthy = (expected: boolean) => eventually(async () => expect((await state()).healthy).toBe(expected), 30_000);

async function writeStatus<T extends KubeObject>(resource: Resource<T>, object: T): Promise<void> {
  await bench.client.apply(resource, object, { fieldManager: "kubelet", subresource: "status" });
}

async function createNode(name: string, taints: { key: string; effect: string }[] = []): Promise<void> {
  const metadata = { name };
  const node: Node = { apiVersion: "v1", kind: "Node", metadata };
  await bench.client.create(NODES, { ...node, ...(taints.length > 0 ? { spec: { taints } } : {}) });
  await writeStatus(NODES, { ...node, status: { conditions: [{ type: "Ready", status: "True" }] } });
}

async function createDaemonSet(desired: number): Promise<void> {
  const labels = { app: "proxy" };
  const template = { metadata: { labels }, spec: { containers: [{ name: "proxy", image: "proxy" }] } };
  const object = { apiVersion: "apps/v1", kind: "DaemonSet", metadata: DAEMON_SET };
  await bench.client.create(DAEMON_SETS, { ...object, spec: { selector: { matchLabels: labels }, template } } as never);
  const status = { desiredNumberScheduled: desired, currentNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 };
  await writeStatus(DAEMON_SETS, { ...object, status } as never);
}

async function createProxy(node: string, ready: boolean): Promise<void> {
  const controller = { apiVersion: "apps/v1", kind: "DaemonSet", name: "proxy", uid: "u-1", controller: true };
  const metadata = { namespace: "default", name: `proxy-${node}`, ownerReferences: [controller] };
  // No kubelet would end it otherwise.
  const spec = { nodeName: node, terminationGracePeriodSeconds: 0, containers: [{ name: "proxy", image: "proxy" }] };
  await bench.client.create(PODS, { apiVersion: "v1", kind: "Pod", metadata, spec });
  await setProxyReady(node, ready);
}

async function setProxyReady(node: string, ready: boolean): Promise<void> {
  const metadata = { namespace: "default", name: `proxy-${node}` };
  const conditions = [{ type: "Ready", status: ready ? "True" : "False" }];
  await writeStatus(PODS, { apiVersion: "v1", kind: "Pod", metadata, status: { conditions } } as Pod);
}

async function removeAll(): Promise<void> {
  for (const resource of [NODES, CONFIG_MAPS, DAEMON_SETS] as Resource<KubeObject>[]) {
    const { items } = await bench.client.list(resource, resource.namespaced ? { namespace: "default" } : {});
    for (const item of items) await bench.client.delete(resource, item.metadata);
  }
}

describe("the cluster state", () => {
  it("follows the registry, is written on transitions only, and comes back when somebody deletes it", async () => {
    const running = bench.run({ cluster });
    await healthy(true);
    const { metadata } = (await published()) ?? {};
    bench.registry.failWith = 503;
    await healthy(false);
    expect((await state()).reasons).toEqual([expect.stringContaining("The registry has not been ready for 1 s")]);
    bench.registry.failWith = undefined;
    await healthy(true);
    expect(metadata?.resourceVersion).not.toBe((await published())?.metadata.resourceVersion);
    await eventually(async () =>
      expect(await bench.eventReasons("cluster-state")).toEqual(["CacheHealthy", "CacheHealthy", "CacheUnhealthy"]),
    );

    const settled = (await published())?.metadata.resourceVersion;
    await sleep(2_000);
    expect((await published())?.metadata.resourceVersion).toBe(settled);
    const text = await running.metrics.text();
    expect(metricOf(text, "cache_registry_cluster_state_writes_total")).toBe(3);
    expect(metricOf(text, "cache_registry_cluster_healthy")).toBe(1);

    await bench.client.delete(CONFIG_MAPS, CONFIG_MAP);
    await healthy(true);
    await removeAll();
  });

  it("is brought to the webhook's pods at once: a kubelet looks again at a pod that changes", async () => {
    const labels = { "app.kubernetes.io/name": "cache-registry", "app.kubernetes.io/component": "webhook" };
    const spec = { containers: [{ name: "webhook", image: "webhook" }] };
    const pod = (name: string, others: object) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace: "default", name, annotations: { "checksum/config": "1" }, ...others },
      spec,
    });
    await bench.client.create(PODS, pod("webhook-1", { labels }));
    await bench.client.create(PODS, pod("webhook-2", { labels }));
    await bench.client.create(PODS, pod("other", {}));
    bench.run({ cluster });
    const annotationsOf = async (name: string) =>
      (await bench.client.get(PODS, { namespace: "default", name })).metadata.annotations;
    await eventually(async () => {
      const written = (await state()).writtenAt.toISOString();
      for (const name of ["webhook-1", "webhook-2"]) {
        expect((await annotationsOf(name))?.["cache-registry.enix.io/cluster-state-written"]).toBe(written);
      }
    });
    expect(await annotationsOf("other")).toEqual({ "checksum/config": "1" });
    await removeAll();
  });

  it("is taken over by the next leader: no write while nothing changes, and who is left alone stays so", async () => {
    const until = new Date(Date.now() + 3_000).toISOString();
    const gone = {
      namespace: "shop",
      apiVersion: "example.com/v1",
      kind: "Database",
      name: "ended",
      until: "2020-01-01T00:00:00Z",
    };
    const loops = [{ ...gone, name: "db", until }, gone];
    const document = { version: 1, writtenAt: "2026-01-01T00:00:00Z", healthy: false, reasons: ["before"], loops };
    await bench.client.create(CONFIG_MAPS, {
      metadata: CONFIG_MAP,
      data: { [CLUSTER_STATE_KEY]: JSON.stringify(document) },
    });
    bench.run({ cluster: { ...cluster, health: { ...cluster.health, recovered: 600_000 } } });
    await eventually(async () => expect((await state()).loops.map(({ name }) => name)).toEqual(["db"]));
    expect(await state()).toMatchObject({ healthy: false, reasons: ["before"] });
    await eventually(async () => expect((await state()).loops).toEqual([]));
    expect(await bench.eventReasons("cluster-state")).toEqual([]);
    await removeAll();
  });

  it("follows the proxies of the nodes that are ready", async () => {
    await createDaemonSet(4);
    for (const name of ["n1", "n2", "n3", "n4"]) {
      await createNode(name);
      await createProxy(name, true);
    }
    const running = bench.run({ cluster: { ...cluster, daemonSet: DAEMON_SET } });
    await healthy(true);
    await setProxyReady("n2", false);
    await setProxyReady("n3", false);
    await healthy(false);
    expect((await state()).reasons).toEqual(["The proxies of 2 of 4 nodes are not ready: n2, n3"]);
    expect(metricOf(await running.metrics.text(), "cache_registry_cluster_proxies", { state: "unready" })).toBe(2);
    await setProxyReady("n3", true);
    await healthy(true);
    await removeAll();
  });
});

describe("the taint of a node", () => {
  it("goes when the node's proxy is ready, alone, and with an Event; that of other nodes stays", async () => {
    const other = { key: "dedicated", effect: "NoSchedule" };
    const ours = { key: TAINT, effect: "NoSchedule" };
    await createNode("late", [ours, other]);
    await createNode("without", [ours]);
    await createProxy("late", false);
    bench.run({ cluster: { ...CLUSTER_RULES, daemonSet: DAEMON_SET, nodeTaint: TAINT } });
    await createNode("joining", [ours, { ...ours, effect: "NoExecute" }]);
    await createProxy("joining", true);
    const keys = async (name: string) =>
      (await bench.client.get(NODES, { name })).spec?.taints
        ?.map(({ key }) => key)
        .filter((key) => !key.includes("/not-ready"));
    await eventually(async () => expect(await keys("joining")).toEqual([]));
    expect(await keys("late")).toEqual([TAINT, "dedicated"]);
    await setProxyReady("late", true);
    await eventually(async () => expect(await keys("late")).toEqual(["dedicated"]));
    expect(await keys("without")).toEqual([TAINT]);
    await eventually(async () => expect(await bench.eventReasons("late")).toEqual(["ProxyReady"]));
    await removeAll();
  });
});
