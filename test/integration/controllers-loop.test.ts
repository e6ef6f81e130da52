/**
 * An operator that compares the images of its pods with what it wrote, and deletes those that differ: the real webhook
 * rewrites them, the controllers notice, and the loop ends. The test plays the operator, and the kubelet that mounts the
 * ConfigMap.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../hack/cluster/free-port.ts";
import { CLUSTER_STATE_KEY, parseClusterState } from "../../packages/core/src/cluster-state.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { CONFIG_MAPS, EVENTS, PODS, type Resource } from "../../packages/kube/src/resource.ts";
import type { Pod } from "../../packages/kube/src/workloads.ts";
import { selfSigned } from "../e2e/self-signed.ts";
import { CLUSTER_RULES } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";

const CLI = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
const CONFIG_MAP = { namespace: "default", name: "cluster-state" };
const DATABASE = {
  apiVersion: "example.com/v1",
  kind: "Database",
  name: "db",
  uid: "8d6fe1c4-0000-4000-8000-000000000000",
};
const IMAGE = "postgres:17";
const cluster = { ...CLUSTER_RULES, configMap: CONFIG_MAP };
const WEBHOOKS = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
  namespaced: false,
} as Resource<KubeObject>;

const bench = useBench();
const ending = new AbortController();
let dir: string;
let webhook: ChildProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "creg-loop-"));
  const { certificate, key } = await selfSigned("localhost");
  const [certFile, keyFile, stateFile] = [join(dir, "tls.crt"), join(dir, "tls.key"), join(dir, "state.json")];
  await Promise.all([writeFile(certFile, certificate), writeFile(keyFile, key)]);
  const port = await freePort();
  const config = {
    listen: { host: "127.0.0.1", port, tls: { certFile, keyFile } },
    management: { host: "127.0.0.1", port: 0 },
    clusterStateFile: stateFile,
    owners: { allow: ["none", "apps/ReplicaSet", "example.com/Database"] },
  };
  await writeFile(join(dir, "webhook.yaml"), JSON.stringify(config));
  webhook = spawn(process.execPath, [CLI, "webhook", "--config", join(dir, "webhook.yaml")], { stdio: "ignore" });

  void mountState(stateFile);
  await bench.client.create(WEBHOOKS, webhookConfiguration(port, certificate));
});

afterAll(async () => {
  ending.abort();
  webhook.kill("SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

function webhookConfiguration(port: number, certificate: string): KubeObject {
  const rules = [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }];
  const clientConfig = {
    url: `https://localhost:${port}/mutate`,
    caBundle: Buffer.from(certificate).toString("base64"),
  };
  const hook = {
    name: "pods.cache-registry.enix.io",
    clientConfig,
    rules,
    failurePolicy: "Ignore",
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
  };
  return { metadata: { name: "cache-registry" }, webhooks: [hook] } as KubeObject;
}

/** As the kubelet does: the file is replaced at once. */
async function mountState(file: string): Promise<void> {
  while (!ending.signal.aborted) {
    const text = await publishedText();
    if (text !== undefined) {
      await writeFile(`${file}.new`, text).catch(() => undefined);
      await rename(`${file}.new`, file).catch(() => undefined);
    }
    await sleep(100);
  }
}

async function publishedText(): Promise<string | undefined> {
  return bench.client.get(CONFIG_MAPS, CONFIG_MAP).then(
    ({ data }) => data?.[CLUSTER_STATE_KEY],
    () => undefined,
  );
}

async function loops(): Promise<string[]> {
  const parsed = parseClusterState((await publishedText()) ?? "");
  return "state" in parsed ? parsed.state.loops.map(({ kind, name }) => `${kind}/${name}`) : [];
}

/** A new pod is rewritten: the webhook has read that the cache is healthy. */
async function rewriting(): Promise<void> {
  let count = 0;
  await eventually(async () => {
    count += 1;
    const { metadata, spec } = await bench.client.create(PODS, podOf(`probe-${count}`, undefined));
    await bench.client.delete(PODS, metadata);
    expect(spec?.containers?.[0]?.image).toContain("localhost:7439/");
  }, 30_000);
}

function podOf(name: string, controller: typeof DATABASE | undefined): Pod {
  const ownerReferences = controller ? [{ ...controller, controller: true }] : [];
  const metadata = { namespace: "default", name, ownerReferences };
  return { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "main", image: IMAGE }] } };
}

/** Makes the pod, and again whenever its image is not what was asked for. @returns how many it took */
async function operate(controller: typeof DATABASE | undefined, nameOf: (round: number) => string): Promise<number> {
  for (let round = 1; round <= 100; round += 1) {
    const { metadata, spec } = await bench.client.create(PODS, podOf(nameOf(round), controller));
    if (spec?.containers?.[0]?.image === IMAGE) return round;
    await sleep(300);
    await bench.client.delete(PODS, metadata);
  }
  throw new Error("still at it");
}

describe("an operator that fights the rewriting", () => {
  it("is left alone after a few rounds, with an Event that says so; others are rewritten as before", async () => {
    bench.run({ cluster });
    await rewriting();
    const rounds = await operate(DATABASE, () => "db-1");
    // Five are the proof; the rest is the time until the webhook has heard of it.
    expect(rounds).toBeGreaterThan(5);
    expect(await loops()).toEqual(["Database/db"]);
    expect((await bench.client.get(PODS, { namespace: "default", name: "db-1" })).metadata.annotations).toMatchObject({
      "cache-registry.enix.io/skipped-images": '{"main":"loop"}',
    });
    type Event = KubeObject & { reason: string; note: string; regarding: { kind: string; uid: string } };
    const { items } = await bench.client.list(EVENTS as Resource<Event>);
    const [event, ...more] = items.filter(({ reason }) => reason === "RewritingLoop");
    expect(more).toEqual([]);
    expect(event?.regarding).toMatchObject({ kind: "Database", uid: DATABASE.uid });
    expect(event?.note).toMatch(/^Pods of Database db were deleted and made again 5 times within 10m,/);
    await rewriting();
  });

  it("is left alone for its time only, then tried again", async () => {
    bench.run({ cluster: { ...cluster, loops: { ...cluster.loops, recreations: 2, leaveAloneFor: 3_000 } } });
    await rewriting();
    const other = { ...DATABASE, name: "other" };
    expect(await operate(other, (round) => `other-${round}`)).toBeGreaterThan(2);
    expect(await loops()).toContain("Database/other");
    await eventually(async () => expect(await loops()).not.toContain("Database/other"));
    let attempt = 0;
    await eventually(async () => {
      attempt += 1;
      expect(await operate(other, (round) => `again-${attempt}-${round}`)).toBeGreaterThan(2);
    });
  });

  it("may also make pods without a controller, of one name", async () => {
    bench.run({ cluster });
    await rewriting();
    expect(await operate(undefined, () => "lonely")).toBeGreaterThan(5);
    expect(await loops()).toContain("Pod/lonely");
  });
});
