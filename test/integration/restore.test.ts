/** `cache-registry restore` against a real API server: after `helm uninstall`, and as the chart's hook runs it. */
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "../../packages/kube/src/custom-resource-definition.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import {
  CONFIG_MAPS,
  DAEMON_SETS,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  PODS,
  type Resource,
  SERVICES,
} from "../../packages/kube/src/resource.ts";
import type { DaemonSet, Pod } from "../../packages/kube/src/workloads.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, cachedPod, clean, connect, plainPod } from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";

const NAMESPACE = "images";
const LABELS = { "app.kubernetes.io/name": "cache-registry", "app.kubernetes.io/instance": "blue" };
const BUDGETS: Resource<KubeObject & { spec?: object; status?: object }> = {
  group: "policy",
  version: "v1",
  plural: "poddisruptionbudgets",
  kind: "PodDisruptionBudget",
  namespaced: true,
};

let server: ApiServer;
let client: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  for (const name of [NAMESPACE, "nodes"]) {
    await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  }
  await applyDefinition(client);
});
afterEach(() => clean(client, [BUDGETS as Resource<KubeObject>, MUTATING_WEBHOOK_CONFIGURATIONS]));
afterAll(async () => {
  client?.close();
  await server?.stop();
});

function restore(...args: string[]): Promise<{ code: number; output: string }> {
  const main = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
  const full = [main, "restore", "--release", "blue", "--namespace", NAMESPACE, ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, full, { env: { KUBECONFIG: server.kubeconfig } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, output: stdout + stderr });
    });
  });
}

function owned(pod: Pod, kind: string): Pod {
  const owner = {
    apiVersion: "apps/v1",
    kind,
    name: "owner",
    uid: "4f5b8f1c-0000-4000-8000-000000000000",
    controller: true,
  };
  return { ...pod, metadata: { ...pod.metadata, ownerReferences: [owner] } };
}

const podNames = async () => (await client.list(PODS)).items.map(({ metadata }) => metadata.name).sort();
const imagesOf = async (name: string) =>
  (await client.get(PODS, { namespace: "default", name })).spec?.containers?.map(({ image }) => image);

/** As a kubelet would. */
async function report(name: string, status: Pod["status"]): Promise<void> {
  const pod: Pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    ...(status ? { status } : {}),
  };
  await client.apply(PODS, pod, { fieldManager: "kubelet", subresource: "status" });
}

/** Without a disruption controller the test says what the budget allows. */
async function budget(allowed: number): Promise<void> {
  const metadata = { name: "web", namespace: "default" };
  const head = { apiVersion: "policy/v1", kind: "PodDisruptionBudget" };
  const spec = { maxUnavailable: 1, selector: { matchLabels: { app: "web" } } };
  const made = await client.apply(BUDGETS, { ...head, metadata, spec }, { fieldManager: "test" });
  const status = {
    observedGeneration: made.metadata.generation,
    disruptionsAllowed: allowed,
    currentHealthy: 2,
    desiredHealthy: 1,
    expectedPods: 2,
  };
  await client.apply(BUDGETS, { ...head, metadata, status }, { fieldManager: "test", subresource: "status" });
}

async function leftovers(): Promise<void> {
  const metadata = { name: "blue-cache-registry-proxy", namespace: NAMESPACE, labels: LABELS };
  await client.create(CONFIG_MAPS, { apiVersion: "v1", kind: "ConfigMap", metadata });
  const service = { ...metadata, name: "blue-cache-registry-registry" };
  await client.create(SERVICES, {
    apiVersion: "v1",
    kind: "Service",
    metadata: service,
    spec: { ports: [{ port: 5000 }] },
  } as KubeObject);
  await applyDefinition(client);
}

async function webhook(release = "blue"): Promise<void> {
  const labels = { ...LABELS, "app.kubernetes.io/instance": release };
  const annotations = { "cache-registry.enix.io/endpoint": "localhost:7439" };
  await client.create(MUTATING_WEBHOOK_CONFIGURATIONS, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: `${release}-cache-registry-webhook`, labels, annotations },
  });
}

describe("after helm uninstall", () => {
  it("evicts what has a controller, patches bare pods, touches no other, and removes what was kept", async () => {
    await leftovers();
    await client.create(PODS, owned(cachedPod("web", ["docker.io/library/nginx:1.27"]), "ReplicaSet"));
    await client.create(PODS, cachedPod("bare", ["ghcr.io/team/app", "quay.io/a/b:1"]));
    await client.create(PODS, plainPod("plain", "nginx"));
    const task = cachedPod("task", ["docker.io/library/busybox"]);
    await client.create(PODS, { ...task, spec: { ...task.spec, restartPolicy: "Never" } });
    const containerStatuses = (task.spec?.containers ?? []).map(({ name, image }) => ({
      ...{ name, image, imageID: "", ready: true, restartCount: 0 },
      state: { running: { startedAt: new Date().toISOString() } },
    }));
    await report("task", { phase: "Running", containerStatuses });
    const first = await restore("--dry-run");
    expect(first.code).toBe(3);
    expect(first.output).toContain("default/bare: would get ghcr.io/team/app, quay.io/a/b:1 in place");
    expect(await podNames()).toEqual(["bare", "plain", "task", "web"]);

    const { code, output } = await restore();
    expect([code, output]).toEqual([0, expect.stringContaining("1 pods evicted, 1 given their original images")]);
    expect(await podNames()).toEqual(["bare", "plain", "task"]);
    // What runs once is not run a second time for a name that nobody reads any more.
    expect(await imagesOf("task")).toEqual(["localhost:7439/docker.io/library/busybox"]);
    expect(await imagesOf("bare")).toEqual(["ghcr.io/team/app", "quay.io/a/b:1"]);
    expect(await imagesOf("plain")).toEqual(["nginx"]);
    const left = await client.list(CONFIG_MAPS, {
      namespace: NAMESPACE,
      labelSelector: "app.kubernetes.io/instance=blue",
    });
    expect(left.items).toEqual([]);
    expect((await client.list(SERVICES, { namespace: NAMESPACE })).items).toEqual([]);
    await eventually(async () =>
      expect((await client.list(CUSTOM_RESOURCE_DEFINITIONS)).items.map(({ metadata }) => metadata.name)).toEqual([]),
    );
    expect((await restore()).code).toBe(0);
    await applyDefinition(client);
  });

  it("waits for a budget and for a Job, and keeps what they need when the time is over", async () => {
    await leftovers();
    const web = owned(cachedPod("web", ["docker.io/library/nginx:1.27"]), "StatefulSet");
    await client.create(PODS, { ...web, metadata: { ...web.metadata, labels: { app: "web" } } });
    // A budget counts healthy pods alone.
    await report("web", { phase: "Running", conditions: [{ type: "Ready", status: "True" }] });
    await client.create(PODS, owned(cachedPod("job", ["docker.io/library/busybox"]), "Job"));
    await budget(0);
    const late = await restore("--timeout", "1s");
    expect(late.code).toBe(3);
    expect(late.output).toContain("default/web: a PodDisruptionBudget does not allow its eviction now");
    expect(late.output).toContain("default/job: Job owner is let finish; deleting it would end it");
    expect(late.output).toContain("The same command goes on later");
    expect((await client.list(SERVICES, { namespace: NAMESPACE })).items).toHaveLength(1);

    const waiting = restore("--timeout", "60s", "--keep-records");
    await budget(1);
    await eventually(async () => expect(await podNames()).toEqual(["job"]));
    await report("job", { phase: "Succeeded" });
    expect((await waiting).code).toBe(0);
    expect((await client.list(SERVICES, { namespace: NAMESPACE })).items).toEqual([]);
    expect((await client.list(CUSTOM_RESOURCE_DEFINITIONS)).items).toHaveLength(1);
  });

  it("refuses while the release is installed, since its webhook would rewrite every pod again", async () => {
    await webhook();
    await client.create(PODS, cachedPod("bare", ["ghcr.io/team/app"]));
    const { code, output } = await restore();
    expect([code, output]).toEqual([2, expect.stringContaining("release blue is installed")]);
    // Whoever deleted the namespace has no release any more that Helm could uninstall.
    expect(output).toContain("kubectl delete mutatingwebhookconfiguration blue-cache-registry-webhook");
    expect(await imagesOf("bare")).toEqual(["localhost:7439/ghcr.io/team/app"]);
  });
});

describe("in mode mirror", () => {
  it.each([
    ["the release's namespace", NAMESPACE, []],
    ["a namespace of their own", "nodes", ["--proxy-namespace", "nodes"]],
  ])("has every node's files put back before the proxies go, in %s", async (_where, namespace, more) => {
    const at = { name: "blue-cache-registry-proxy", namespace };
    const labels = { ...LABELS, "app.kubernetes.io/component": "proxy" };
    const image = { name: "hosts-toml", image: "x" };
    const template = {
      metadata: { labels },
      spec: { initContainers: [image], containers: [{ name: "proxy", image: "x" }] },
    };
    const head = { apiVersion: "apps/v1", kind: "DaemonSet" };
    const daemonSet = { ...head, metadata: { ...at, labels }, spec: { selector: { matchLabels: labels }, template } };
    await client.create(DAEMON_SETS, daemonSet as DaemonSet);
    const restoring = restore("--keep-records", ...more);
    const changed = await eventually(async () => {
      const now = await client.get(DAEMON_SETS, at);
      expect(now.spec?.template?.spec?.initContainers).toMatchObject([
        { name: "hosts-toml", env: [{ name: "CREG_HOSTSTOML__ENABLED", value: "false" }] },
      ]);
      return now;
    });
    // As the controller of DaemonSets reports a rollout: first one of two nodes, then both.
    for (const updatedNumberScheduled of [1, 2]) {
      const counts = { desiredNumberScheduled: 2, currentNumberScheduled: 2, numberMisscheduled: 0, numberReady: 2 };
      const status = { observedGeneration: changed.metadata.generation, updatedNumberScheduled, ...counts };
      await client.apply(DAEMON_SETS, { ...head, metadata: at, status } as DaemonSet, {
        fieldManager: "controller",
        subresource: "status",
      });
      await sleep(1_500);
    }
    const { code, output } = await restoring;
    expect([code, output]).toEqual([0, expect.stringContaining("as before on 1 of 2 nodes")]);
    expect(output).toContain("deleted DaemonSet/blue-cache-registry-proxy");
    expect((await client.list(DAEMON_SETS)).items).toEqual([]);
  });
});

describe("as the chart's hook", () => {
  it("leaves the pods to another release that rewrites them to the same endpoint", async () => {
    await webhook();
    await webhook("green");
    await client.create(PODS, owned(cachedPod("web", ["docker.io/library/nginx:1.27"]), "DaemonSet"));
    for (const hook of [["--uninstalling"], []]) {
      const { code, output } = await restore(...hook);
      expect([code, output]).toEqual([
        0,
        expect.stringContaining("release green rewrites pods to localhost:7439, too"),
      ]);
    }
    const { items } = await client.list(MUTATING_WEBHOOK_CONFIGURATIONS);
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["green-cache-registry-webhook"]);
    expect(await podNames()).toEqual(["web"]);
  });

  it("ends when its time is over, says which Jobs are left and what to do, and can be done again", async () => {
    await webhook();
    await client.create(PODS, owned(cachedPod("job", ["docker.io/library/busybox"]), "Job"));
    const { code, output } = await restore("--uninstalling", "--timeout", "1s");
    expect(code).toBe(3);
    expect(output).toContain("default/job: Job owner is let finish; deleting it would end it");
    expect(output).toContain("helm uninstall it again later");
    expect(await podNames()).toEqual(["job"]);
    expect(await imagesOf("job")).toEqual(["localhost:7439/docker.io/library/busybox"]);
    // The user has deleted the Job, and with it went its pod.
    await client.delete(PODS, { namespace: "default", name: "job" });
    expect((await restore("--uninstalling", "--timeout", "1s")).code).toBe(0);
  });

  it("deletes the webhook first, and leaves the release's objects to Helm", async () => {
    await leftovers();
    await webhook();
    await client.create(PODS, owned(cachedPod("web", ["docker.io/library/nginx:1.27"]), "DaemonSet"));
    const { code, output } = await restore("--uninstalling");
    expect([code, output]).toEqual([0, expect.stringMatching(/^deleted MutatingWebhookConfiguration\/blue/)]);
    expect((await client.list(MUTATING_WEBHOOK_CONFIGURATIONS)).items).toEqual([]);
    expect(await podNames()).toEqual([]);
    expect((await client.list(SERVICES, { namespace: NAMESPACE })).items).toHaveLength(1);
  });
});

it.each([
  ["--timeout=soon", "--timeout"],
  ["--endpoint=a/b", "--endpoint"],
  ["--registry=no spaces", "--registry"],
])("%s is refused before anything is done, naming the option", async (argument, named) => {
  expect(await restore(argument)).toEqual({ code: 2, output: expect.stringContaining(named) });
});
