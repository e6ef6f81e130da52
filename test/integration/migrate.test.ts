/** `cache-registry migrate` on a real API server that holds what kube-image-keeper v1 and its ancestor leave there. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PREDECESSORS } from "../../packages/controllers/src/migrate/predecessors.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "../../packages/kube/src/custom-resource-definition.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import {
  CACHED_IMAGES,
  DEPLOYMENTS,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  PODS,
} from "../../packages/kube/src/resource.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, connect, plainPod } from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";

const POLICY = "kube-image-keeper.enix.io/image-caching-policy";
const OWN_POLICY = "cache-registry.enix.io/image-caching-policy";

let server: ApiServer;
let client: KubeClient;

/** The kinds as far as the command reads them. */
async function definePredecessors(): Promise<void> {
  for (const { records } of PREDECESSORS) {
    const names = { plural: records.plural, singular: "cachedimage", kind: records.kind };
    const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
    const versions = [{ name: records.version, served: true, storage: true, schema }];
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${records.plural}.${records.group}` },
      spec: { group: records.group, scope: "Cluster", names, versions },
    } as KubeObject);
    await eventually(() => client.list(records));
  }
}

async function oldRecord(system: number, name: string, spec: object): Promise<void> {
  const { records } = PREDECESSORS[system] ?? {};
  if (!records) throw new Error(`there is no predecessor ${system}`);
  await client.create(records, {
    apiVersion: `${records.group}/${records.version}`,
    kind: records.kind,
    metadata: { name },
    spec,
  });
}

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
});
afterAll(async () => {
  client?.close();
  await server?.stop();
});

function migrate(...args: string[]): Promise<{ code: number; output: string }> {
  const main = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [main, "migrate", ...args],
      { env: { KUBECONFIG: server.kubeconfig } },
      (error, out, err) => {
        resolve({ code: typeof error?.code === "number" ? error.code : 0, output: out + err });
      },
    );
  });
}

const records = async () =>
  (await client.list(CACHED_IMAGES)).items
    .map(({ spec }) => `${spec.sourceImage}${spec.retain ? " retained" : ""}`)
    .sort();

describe("migrating", () => {
  it("says that there is nothing where neither was", async () => {
    const { code, output } = await migrate("--apply", "--evict");
    expect([code, output]).toEqual([0, expect.stringContaining("kube-image-keeper v1: nothing here")]);
  });

  it("reports first, then takes over records and opt-outs, once", async () => {
    await definePredecessors();
    await oldRecord(0, "docker.io-library-nginx-1.27", { sourceImage: "nginx:1.27", retain: true });
    await oldRecord(0, "harbor-5000-team-app-1", { sourceImage: "harbor-5000/team/app:1" });
    await oldRecord(0, "broken", { sourceImage: "not an image" });
    await oldRecord(1, "redis", { sourceImage: "redis:7" });
    const namespace = {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "legacy", labels: { [POLICY]: "ignore" } },
    };
    await client.create(NAMESPACES, namespace);
    const template = {
      metadata: { labels: { app: "db", [POLICY]: "ignore" } },
      spec: { containers: [{ name: "db", image: "db" }] },
    };
    const spec = { selector: { matchLabels: { app: "db" } }, template };
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "db", namespace: "default" },
      spec,
    };
    await client.create(DEPLOYMENTS, deployment);

    const report = await migrate("--registry", "harbor:5000");
    expect(report.code).toBe(0);
    expect(report.output).toContain("3 CachedImages, 1 refused");
    expect(report.output).toContain("not taken over: not an image");
    expect(report.output).toContain("Deployment default/db");
    expect(await records()).toEqual([]);

    const applied = await migrate("--registry", "harbor:5000", "--apply");
    expect(applied.output).toContain("3 CachedImages, 2 taken over, 1 refused");
    const wanted = ["docker.io/library/nginx:1.27 retained", "docker.io/library/redis:7", "harbor:5000/team/app:1"];
    expect(await records()).toEqual(wanted);
    const { metadata } = await client.get(NAMESPACES, { name: "legacy" });
    expect(metadata.labels).toMatchObject({ [POLICY]: "ignore", [OWN_POLICY]: "ignore" });

    expect((await migrate("--registry", "harbor:5000", "--apply")).output).toContain("3 CachedImages, 0 taken over");
    expect(await records()).toEqual(wanted);
  });

  it("evicts or patches the pods of the old proxy, once its webhook is gone, and touches no other", async () => {
    const old = (name: string, image: string) => {
      const pod = plainPod(name, image);
      return { ...pod, metadata: { ...pod.metadata, labels: { "kuik.enix.io/managed": "true" } } };
    };
    const owner = {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      name: "o",
      uid: "4f5b8f1c-0000-4000-8000-000000000000",
      controller: true,
    };
    const owned = old("owned", "localhost:7439/nginx:1.27");
    await client.create(PODS, { ...owned, metadata: { ...owned.metadata, ownerReferences: [owner] } });
    await client.create(PODS, old("bare", "localhost:7439/nginx:1.27"));
    // As their proxy has a port: with "-", which the name of a host may have as well.
    await client.create(PODS, old("port", "localhost:7439/harbor-5000/team/app:1"));
    await client.create(PODS, old("doubtful", "localhost:7439/harbor.example-5000/team/app:1"));
    await client.create(PODS, plainPod("other", "localhost:7439/docker.io/library/redis:7"));
    const webhook = { name: "kube-image-keeper-mutating-webhook" };
    const head = { apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration" };
    await client.create(MUTATING_WEBHOOK_CONFIGURATIONS, { ...head, metadata: webhook });

    const early = await migrate("--apply", "--evict");
    expect([early.code, early.output]).toEqual([2, expect.stringContaining("uninstall it first")]);
    await client.delete(MUTATING_WEBHOOK_CONFIGURATIONS, webhook);
    // A name that kubebuilder gives: of the predecessor, and of any operator, whose users should not be told to remove it.
    const generated = async (name: string, path: string) => {
      const clientConfig = { service: { namespace: "default", name, path } };
      const common = { sideEffects: "None", admissionReviewVersions: ["v1"] };
      const webhooks = [{ name: "mpod.kb.io", clientConfig, ...common }];
      const metadata = { name: `${name}-mutating-webhook-configuration` };
      await client.create(MUTATING_WEBHOOK_CONFIGURATIONS, { ...head, metadata, webhooks } as KubeObject);
      return metadata;
    };
    await generated("cnpg", "/mutate-postgresql-cnpg-io-v1-cluster");
    const predecessor = await generated("old", "/mutate-core-v1-pod");
    const blocked = await migrate("--apply", "--evict");
    expect([blocked.code, blocked.output]).toEqual([2, expect.stringContaining(`${predecessor.name} would rewrite`)]);
    expect(blocked.output).not.toContain("cnpg");
    await client.delete(MUTATING_WEBHOOK_CONFIGURATIONS, predecessor);
    const doubtful = await migrate("--apply", "--evict", "--registry", "harbor:5000");
    expect([doubtful.code, doubtful.output]).toEqual([
      3,
      expect.stringContaining("1 pods evicted, 2 given their original images, 1 left"),
    ]);
    expect(doubtful.output).toContain("default/doubtful: harbor.example-5000/team/app:1: say --registry");
    const registries = ["--registry", "harbor:5000", "--registry", "harbor.example:5000"];
    const done = await migrate("--apply", "--evict", ...registries);
    expect([done.code, done.output]).toEqual([0, expect.stringContaining("1 given their original images, 0 left")]);
    const { items } = await client.list(PODS);
    expect(
      Object.fromEntries(items.map(({ metadata, spec }) => [metadata.name, spec?.containers?.[0]?.image])),
    ).toEqual({
      bare: "nginx:1.27",
      port: "harbor:5000/team/app:1",
      doubtful: "harbor.example:5000/team/app:1",
      other: "localhost:7439/docker.io/library/redis:7",
    });
  });
});

it.each([
  ["--registry=no spaces", "--registry"],
  ["--timeout=soon", "--timeout"],
])("%s is refused, naming the option", async (argument, named) => {
  expect(await migrate(argument)).toEqual({ code: 2, output: expect.stringContaining(named) });
});
