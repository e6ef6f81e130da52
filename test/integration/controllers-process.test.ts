import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { createLeaderElection } from "../../packages/kube/src/leader-election.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import {
  CACHED_IMAGES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  EVENTS,
  LEASES,
  PODS,
  type Resource,
  SECRETS,
} from "../../packages/kube/src/resource.ts";
import { silentLogger } from "../../packages/runtime/src/logger.ts";
import { createMetrics } from "../../packages/runtime/src/metrics.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, cachedPod, connect, recordOf } from "../support/controllers.ts";
import { grantAccess } from "../support/controllers-access.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeManagementApi, startFakeManagementApi } from "../support/fake-management-api.ts";

const CLI = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
/** At the beginning of a line: the help text reads much the same. */
const IS_LEADER = /^cache_registry_leader 1$/m;
const SECRET = { namespace: "default", name: "management-token" };
const STATE = { namespace: "default", name: "cluster-state" };

let server: ApiServer;
let client: KubeClient;
let dir: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
  const lease = "cache-registry-controllers";
  const objects = { configMap: STATE.name, daemonSet: "proxy", deployment: "controllers" };
  await grantAccess(client, { namespace: "default", lease, secret: SECRET.name, ...objects });
  dir = await mkdtemp(join(tmpdir(), "creg-controllers-"));
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  client?.close();
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

type Replica = {
  readonly process: ChildProcess;
  readonly port: number;
  output(): string;
  exit: Promise<number | null>;
};

async function startReplica(name: string, registryUrl: string): Promise<Replica> {
  const config = join(dir, `${name}.yaml`);
  await writeFile(
    config,
    JSON.stringify({
      registry: { url: registryUrl, tokenSecret: { name: SECRET.name } },
      expiryDelay: "2s",
      clusterState: { configMap: STATE.name },
      proxy: { daemonSet: "proxy" },
      management: { port: 0 },
    }),
  );
  const env = {
    ...process.env,
    KUBECONFIG: server.limitedKubeconfig,
    POD_NAME: name,
    POD_NAMESPACE: "default",
    DEPLOYMENT_NAME: "controllers",
  };
  const child = spawn(process.execPath, [CLI, "controllers", "--config", config], { env, stdio: "pipe" });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const port = await eventually(() => {
    const match = /"url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(output);
    if (!match) throw new Error(`not listening yet: ${output}`);
    return Number(match[1]);
  });
  return { process: child, port, output: () => output, exit };
}

async function holder(): Promise<string | undefined> {
  return (await client.get(LEASES, { namespace: "default", name: "cache-registry-controllers" })).spec?.holderIdentity;
}

async function tokenOf(): Promise<string> {
  const { data } = await client.get(SECRETS, SECRET);
  return Buffer.from(data?.token ?? "", "base64").toString();
}

/** Guarded by whatever token the Secret holds, as the registry that mounts it would be. */
async function startGuardedRegistry(): Promise<FakeManagementApi> {
  const token = await eventually(() => tokenOf());
  return startFakeManagementApi(token);
}

describe("cache-registry controllers", () => {
  it("two replicas: one token, one leader; the other takes over and finishes the work", async () => {
    const labels = { app: "controllers" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "main", image: "x" }] } };
    const spec = { replicas: 2, selector: { matchLabels: labels }, template };
    const metadata = { namespace: "default", name: "controllers" };
    const deployment = await client.create(DEPLOYMENTS, { apiVersion: "apps/v1", kind: "Deployment", metadata, spec });

    // The address of the registry must be known before its token is: a first replica makes the Secret.
    const first = await startReplica("first", "http://127.0.0.1:1");
    const registry = await startGuardedRegistry();
    first.process.kill("SIGTERM");
    expect(await first.exit).toBe(0);

    const replicas = [await startReplica("replica-0", registry.url), await startReplica("replica-1", registry.url)];
    await client.create(PODS, cachedPod("web", ["docker.io/library/nginx:1.27"]));
    await eventually(async () => {
      expect((await recordOf(client, "docker.io/library/nginx:1.27")).status?.phase).toBe("Ready");
    }, 30_000);
    expect(registry.unauthorized).toBe(0);
    const secret = await client.get(SECRETS, SECRET);
    expect(secret.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([deployment.metadata.uid]);
    const state = await eventually(() => client.get(CONFIG_MAPS, STATE));
    expect(state.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([deployment.metadata.uid]);
    expect(JSON.parse(state.data?.["state.json"] ?? "")).toMatchObject({ healthy: true, reasons: [], loops: [] });
    const token = await tokenOf();
    expect(Buffer.from(token, "base64url")).toHaveLength(32);

    const leader = await holder();
    const leading = replicas.find((_, index) => leader === `replica-${index}`);
    const other = replicas.find((replica) => replica !== leading);
    if (!leading || !other) throw new Error(`nobody leads: ${leader}`);
    for (const replica of replicas) {
      expect((await fetch(`http://127.0.0.1:${replica.port}/readyz`)).status).toBe(200);
    }
    const metrics = await (await fetch(`http://127.0.0.1:${leading.port}/metrics`)).text();
    expect(metrics).toContain('cache_registry_cached_images{phase="Ready"} 1');
    expect(metrics).toMatch(IS_LEADER);

    leading.process.kill("SIGTERM");
    expect(await leading.exit).toBe(0);
    const released = performance.now();
    await eventually(async () => expect(await holder()).toBe(leader === "replica-0" ? "replica-1" : "replica-0"));
    // Released, not run out: that would take 15 s.
    expect(performance.now() - released).toBeLessThan(8_000);

    await client.delete(PODS, { namespace: "default", name: "web" });
    await eventually(async () => expect((await client.list(CACHED_IMAGES)).items).toEqual([]), 30_000);
    await eventually(() => expect(registry.images.size).toBe(0));
    other.process.kill("SIGTERM");
    expect(await other.exit).toBe(0);
    for (const replica of [first, ...replicas]) {
      expect(replica.output()).not.toContain(token);
      expect(replica.output()).not.toContain("orbidden");
    }
    const { items: events } = await client.list(EVENTS as Resource<KubeObject & { reason: string }>);
    expect(new Set(events.map(({ reason }) => reason))).toEqual(
      new Set(["CacheHealthy", "Warmed", "Expiring", "Expired"]),
    );
    await registry.close();
  });
});

describe("cache-registry controllers, starved of CPU for longer than the lease", () => {
  it("one of them leads again and goes on with the work, without a restart", async () => {
    const registry = await startFakeManagementApi();
    const names = ["starved-0", "starved-1"];
    const replicas = await Promise.all(names.map((name) => startReplica(name, registry.url)));
    await client.create(PODS, cachedPod("before", ["docker.io/library/redis:7"]));
    await eventually(async () => {
      expect((await recordOf(client, "docker.io/library/redis:7")).status?.phase).toBe("Ready");
    }, 30_000);
    for (const { process: child } of replicas) child.kill("SIGSTOP");
    await client.create(PODS, cachedPod("meanwhile", ["docker.io/library/redis:8"]));
    registry.restart({ keep: false });
    await sleep(17_000);
    for (const { process: child } of replicas) child.kill("SIGCONT");
    await eventually(async () => {
      expect((await recordOf(client, "docker.io/library/redis:8")).status?.phase).toBe("Ready");
      expect([...registry.images.keys()].sort()).toEqual(["docker.io/library/redis:7", "docker.io/library/redis:8"]);
    }, 30_000);
    const leaders = replicas.map(async ({ port }) => {
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return IS_LEADER.test(metrics);
    });
    expect((await Promise.all(leaders)).filter(Boolean)).toHaveLength(1);
    expect(names).toContain(await holder());
    for (const { process: child, exit } of replicas) {
      child.kill("SIGTERM");
      expect(await exit).toBe(0);
    }
    await registry.close();
  });
});

describe("leader election", () => {
  const timing = { leaseDuration: 3_000, renewDeadline: 2_000, retryPeriod: 400 };

  function elect(identity: string) {
    const metrics = createMetrics({ defaultMetrics: false });
    const own = connect(server);
    const common = { client: own, namespace: "default", name: "test-lease", logger: silentLogger(), metrics, timing };
    return { own, election: createLeaderElection({ ...common, identity }) };
  }

  it("never has two leaders, also when the API server hangs for longer than the lease", async () => {
    const ending = new AbortController();
    const terms: { who: string; from: number; to: number }[] = [];
    const started = ["a", "b", "c"].map((who) => {
      const { own, election } = elect(who);
      const running = election.run(async (term) => {
        const entry = { who, from: performance.now(), to: Number.POSITIVE_INFINITY };
        terms.push(entry);
        await new Promise((resolve) => term.addEventListener("abort", resolve, { once: true }));
        entry.to = performance.now();
      }, ending.signal);
      return { own, running };
    });
    await eventually(() => expect(terms).toHaveLength(1));
    await sleep(timing.leaseDuration + 500);
    expect(terms).toHaveLength(1);
    server.freeze();
    await sleep(timing.renewDeadline + 500);
    expect(terms.every(({ to }) => Number.isFinite(to))).toBe(true);
    await sleep(timing.leaseDuration);
    server.thaw();
    await eventually(() => expect(terms.length).toBeGreaterThan(1), 30_000);
    ending.abort(new Error("the test is over"));
    await Promise.all(started.map(({ running }) => running));
    for (const { own } of started) own.close();
    for (const [index, term] of terms.entries()) {
      const next = terms[index + 1]?.from ?? Number.POSITIVE_INFINITY;
      expect(next).toBeGreaterThanOrEqual(term.to);
    }
  });
});
