/**
 * The controllers' processes at scale: a real API server, simulated nodes (kwok), the bundle as in the image. `npm run soak`
 * runs it with 10,000 pods and 2,000 images.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "../../hack/bundle.ts";
import type { CachedImage } from "../../packages/kube/src/cached-image.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { CACHED_IMAGES, PODS } from "../../packages/kube/src/resource.ts";
import type { Pod } from "../../packages/kube/src/workloads.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, cachedPod, connect } from "../support/controllers.ts";
import { grantAccess } from "../support/controllers-access.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeManagementApi, startFakeManagementApi } from "../support/fake-management-api.ts";
import { metricOf } from "../support/metrics-text.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../support/simulated-nodes.ts";

const run = promisify(execFile);
const MiB = 2 ** 20;
const PODS_AT_ONCE = Number(process.env.CREG_SOAK_PODS ?? 1_000);
const IMAGES = PODS_AT_ONCE / 5;
const FIRST_SYNC_MS = 60_000;
/** Of CachedImages by one leader: its pods' reconciles, one create each at a time. */
const CREATES_AT_ONCE = 4;

let server: ApiServer;
let client: KubeClient;
let directory: string;
let registry: FakeManagementApi;
let nodes: SimulatedNodes;
const replicas: Replica[] = [];

type Replica = { readonly name: string; readonly process: ChildProcess; readonly port: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-scale-"));
  await bundle(join(directory, "app"));
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
  const names = {
    lease: "cache-registry-controllers",
    secret: "management-token",
    deployment: "controllers",
    configMap: "state",
    daemonSet: "proxy",
  };
  await grantAccess(client, { namespace: "default", ...names });
  registry = await startFakeManagementApi();
  const count = Math.max(10, PODS_AT_ONCE / 100);
  nodes = await startSimulatedNodes({ client, kubeconfig: server.kubeconfig, count, directory });
  await createPods("first", PODS_AT_ONCE, IMAGES);
}, 900_000);

afterAll(async () => {
  for (const { process: child } of replicas) child.kill("SIGKILL");
  await nodes?.stop();
  await registry?.close();
  client?.close();
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
}, 60_000);

/** Pods of `images` images, spread over the nodes; as large as pods are that went through admission. */
async function createPods(group: string, pods: number, images: number): Promise<void> {
  const pad = "x".repeat(1_500);
  const one = async (index: number): Promise<void> => {
    const pod = cachedPod(`${group}-${index}`, [`ghcr.io/${group}/app-${index % images}:1.0`]);
    const nodeName = nodes.names[index % nodes.names.length];
    const metadata = { ...pod.metadata, annotations: { "example.com/applied": pad } };
    await client.create(PODS, { ...pod, metadata, spec: { ...pod.spec, nodeName } } as Pod);
  };
  for (let index = 0; index < pods; index += 16) {
    await Promise.all(Array.from({ length: Math.min(16, pods - index) }, (_, offset) => one(index + offset)));
  }
}

async function startReplica(name: string): Promise<Replica> {
  const config = join(directory, `${name}.json`);
  await writeFile(config, JSON.stringify({ registry: { url: registry.url }, management: { port: 0 } }));
  const env = { KUBECONFIG: server.limitedKubeconfig, POD_NAME: name, POD_NAMESPACE: "default" };
  // As the image starts it.
  const args = ["--max-semi-space-size=8", join(directory, "app", "main.js"), "controllers", "--config", config];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk) => {
    if (output.length < 100_000) output += String(chunk);
  });
  const port = await eventually(() => {
    const match = /"url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(output);
    if (!match) throw new Error(`not listening yet: ${output}`);
    return Number(match[1]);
  });
  const replica = { name, process: child, port };
  replicas.push(replica);
  return replica;
}

async function metric({ port }: Replica, name: string): Promise<number> {
  return metricOf(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), name) ?? Number.NaN;
}

/** Kilobytes of VmHWM: the most that was ever resident. */
async function peakMemory({ process: child }: Replica): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

async function images(): Promise<CachedImage[]> {
  const found: CachedImage[] = [];
  for (let next: string | undefined, first = true; first || next; first = false) {
    const page = await client.list(CACHED_IMAGES, { limit: 500, ...(next ? { continue: next } : {}) });
    found.push(...page.items);
    next = page.metadata.continue;
  }
  return found;
}

async function settled(expected: { images: number; pods: number }): Promise<CachedImage[]> {
  return eventually(async () => {
    const all = await images();
    const ready = all.filter(({ status }) => status?.phase === "Ready").length;
    const pods = all.reduce((sum, { status }) => sum + (status?.usedBy?.count ?? 0), 0);
    expect({ images: ready, pods }).toEqual(expected);
    return all;
  }, FIRST_SYNC_MS + 30_000);
}

/** Requests that changed CachedImages, as the API server counted them. */
async function writes(): Promise<{ created: number; written: number }> {
  const args = ["--kubeconfig", server.kubeconfig, "get", "--raw", "/metrics"];
  const { stdout: text } = await run(server.kubectl, args, { maxBuffer: 64 * MiB });
  const of = (verb: string) =>
    metricOf(text, "apiserver_request_total", {
      resource: "cachedimages",
      verb,
      code: verb === "POST" ? "201" : "200",
    });
  return { created: of("POST") ?? 0, written: (of("APPLY") ?? 0) + (of("PATCH") ?? 0) };
}

describe(`${PODS_AT_ONCE} pods of ${IMAGES} images`, () => {
  it("run on simulated nodes, whose kubelets report to the API server as real ones do", async () => {
    await eventually(async () => {
      const { items } = await client.list(PODS, { limit: 500, fieldSelector: "status.phase=Running" });
      expect(items.length).toBe(Math.min(500, PODS_AT_ONCE));
    }, 60_000);
  }, 90_000);

  it("are in sync within a minute of the start, with one write per transition, in 256 MiB", async () => {
    const began = performance.now();
    const replica = await startReplica("one");
    await settled({ images: IMAGES, pods: PODS_AT_ONCE });
    const took = performance.now() - began;
    await sleep(5_000);
    const after = await writes();
    const memory = await metric(replica, "process_resident_memory_bytes");
    const peak = await peakMemory(replica);
    process.stdout.write(
      `    · first sync ${(took / 1_000).toFixed(1)} s; memory ${(memory / MiB).toFixed(0)} MiB, peak ${(peak / MiB).toFixed(0)} MiB; ` +
        `${after.created} created, ${after.written} status writes\n`,
    );
    expect(took).toBeLessThan(FIRST_SYNC_MS);
    expect(memory).toBeLessThan(256 * MiB);
    expect(after.created).toBe(IMAGES);
    // Pending, Pulling and Ready at most, and one more for pods that were counted later.
    expect(after.written).toBeLessThanOrEqual(4 * IMAGES);
    // And nothing at all while nothing changes.
    await sleep(5_000);
    expect(await writes()).toEqual(after);
  }, 200_000);

  it("lose nothing and see nothing done twice when the leader is killed in the middle of new work", async () => {
    const before = new Map((await images()).map(({ spec, metadata }) => [spec.sourceImage, metadata.uid]));
    const asked = registry.calls.filter((call) => call.startsWith("PUT")).length;
    await startReplica("two");
    const [leader] = replicas;
    const more = Math.max(20, IMAGES / 5);
    const creating = createPods("second", more * 2, more);
    await sleep(200);
    leader?.process.kill("SIGKILL");
    await creating;
    const all = await settled({ images: IMAGES + more, pods: PODS_AT_ONCE + more * 2 });
    for (const { spec, metadata } of all) {
      const uid = before.get(spec.sourceImage) ?? metadata.uid;
      expect([spec.sourceImage, metadata.uid]).toEqual([spec.sourceImage, uid]);
    }
    // The API server stores what a client asked for that is killed before the answer, and counts no 201 for it.
    const { created } = await writes();
    expect(created).toBeLessThanOrEqual(IMAGES + more);
    expect(created).toBeGreaterThanOrEqual(IMAGES + more - CREATES_AT_ONCE);
    // The second leader asks for the pins of all images once, as it cannot know what the first one did; no more.
    const puts = registry.calls.filter((call) => call.startsWith("PUT")).length - asked;
    expect(puts).toBeLessThanOrEqual(IMAGES + 2 * more);
  }, 200_000);
});
