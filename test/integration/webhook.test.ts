import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fromCacheReference } from "../../packages/core/src/cache-reference.ts";
import { type LoopingOwner, printClusterState } from "../../packages/core/src/cluster-state.ts";
import { parseImageReference } from "../../packages/core/src/image-reference.ts";
import {
  MANAGED_LABEL,
  ORIGINAL_IMAGES_ANNOTATION,
  SKIPPED_IMAGES_ANNOTATION,
} from "../../packages/core/src/labels.ts";
import { createRandom } from "../../packages/core/src/testing/seeded-random.ts";
import { SKIP_REASONS } from "../../packages/webhook/src/eligibility/eligibility.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, connect } from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";
import { RANDOM_POD_RULES, type RandomPod, randomPod } from "../support/random-pod.ts";
import { startWebhookProcess, type WebhookProcess } from "../support/webhook-process.ts";
import { type ApiAccess, accessOf, askApi, podsPath, registerWebhook } from "../support/webhook-registration.ts";

/*
 * The webhook as a process, asked by a real API server that validates what comes out. Pods are created as dry runs: all of
 * admission and validation, nothing stored.
 */

const PODS = 1_000;
const AT_ONCE = 6;
const ENDPOINT = "localhost:7439";
/** The API server asks for every namespace but this one. */
const WITHOUT = "without-webhook";
const OURS = [ORIGINAL_IMAGES_ANNOTATION, SKIPPED_IMAGES_ANNOTATION, MANAGED_LABEL];

type Slot = { name: string; image: string };
type TextMap = Record<string, string>;
type Pod = {
  metadata: { labels?: TextMap; annotations?: TextMap };
  spec: {
    containers: Slot[];
    initContainers?: Slot[];
    ephemeralContainers?: Slot[];
    volumes?: { name: string; image?: { reference: string } }[];
  };
};

let server: ApiServer;
let webhook: WebhookProcess;
let access: ApiAccess;
let stateFolder: string;

beforeAll(async () => {
  stateFolder = mkdtempSync(join(tmpdir(), "creg-cluster-state-"));
  publish("..1", { healthy: true });
  symlinkSync("..data/state.json", join(stateFolder, "state.json"));
  const configuration = {
    ...RANDOM_POD_RULES,
    clusterStateFile: join(stateFolder, "state.json"),
    log: { access: false },
  };
  [server, webhook] = await Promise.all([startApiServer(), startWebhookProcess({ configuration })]);
  access = accessOf(server);
  await registerWebhook(server, webhook, [WITHOUT]);
  await askApi(access, { method: "POST", path: "/api/v1/namespaces", body: { metadata: { name: WITHOUT } } });
}, 120_000);

afterAll(async () => {
  await webhook?.dispose();
  await server?.stop();
  rmSync(stateFolder, { recursive: true, force: true });
});

/** What the controllers write, mounted as the kubelet does it. */
function publish(version: string, state: { healthy: boolean; reasons?: string[]; loops?: LoopingOwner[] }): void {
  mkdirSync(join(stateFolder, version));
  const text = printClusterState({ version: 1, writtenAt: new Date(), reasons: [], loops: [], ...state });
  writeFileSync(join(stateFolder, version, "state.json"), text);
  symlinkSync(version, join(stateFolder, "..data_tmp"));
  renameSync(join(stateFolder, "..data_tmp"), join(stateFolder, "..data"));
}

function create(namespace: string, body: unknown) {
  return askApi(access, { method: "POST", path: podsPath(namespace), body });
}

/** Every place that names an image, by the key of the annotations. */
function imagesOf({ spec }: Pod): Map<string, string> {
  const containers = [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
  return new Map([
    ...containers.map(({ name, image }) => [name, image] as const),
    ...(spec.volumes ?? []).flatMap(({ name, image }) => (image ? [[`volume/${name}`, image.reference] as const] : [])),
  ]);
}

function notes(pod: Pod, annotation: string): TextMap {
  return JSON.parse(pod.metadata.annotations?.[annotation] ?? "{}") as TextMap;
}

/** The pod without its images, our label and notes, and what differs between any two creations. */
function rest(pod: Pod): unknown {
  const { spec } = structuredClone(pod);
  for (const slot of [...(spec.initContainers ?? []), ...spec.containers]) slot.image = "";
  for (const { image } of spec.volumes ?? []) if (image) image.reference = "";
  const others = (map: TextMap = {}) => Object.fromEntries(Object.entries(map).filter(([key]) => !OURS.includes(key)));
  return { spec, labels: others(pod.metadata.labels), annotations: others(pod.metadata.annotations) };
}

type Comparison = { readonly rewritten: number; readonly problems: readonly string[] };

/** What came back with the webhook, against what came back without it and what was expected. */
function compare({ expected }: RandomPod, without: Pod, pod: Pod): Comparison {
  const problems: string[] = [];
  const check = (what: string, actual: unknown, wanted: unknown): void => {
    if (isDeepStrictEqual(actual, wanted)) return;
    problems.push(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
  };
  check("the rest of the pod", rest(pod), rest(without));
  const after = imagesOf(pod);
  const skipped: TextMap = {};
  const originals: TextMap = {};
  for (const [key, image] of imagesOf(without)) {
    const now = after.get(key) ?? "";
    const reason = expected.get(key);
    if (expected.has(key) && reason === undefined) {
      originals[key] = image;
      check(`the way back of ${key}`, fromCacheReference(now, ENDPOINT), parseImageReference(image));
    } else {
      if (reason !== undefined) skipped[key] = reason;
      check(key, now, image);
    }
  }
  const rewritten = Object.keys(originals).length;
  const label = rewritten > 0 ? "true" : undefined;
  check("the label", pod.metadata.labels?.[MANAGED_LABEL], label);
  if (expected.size > 0) {
    check("the reasons", notes(pod, SKIPPED_IMAGES_ANNOTATION), skipped);
    const noted = notes(pod, ORIGINAL_IMAGES_ANNOTATION);
    check("the originals", Object.fromEntries(Object.keys(originals).map((key) => [key, noted[key]])), originals);
  }
  return { rewritten, problems };
}

it(`${PODS} pods of every shape are accepted as without the webhook, and nothing but images changes`, async () => {
  const random = createRandom(2_026);
  const pods = Array.from({ length: PODS }, (_, index) => randomPod(random, `p-${index}`));
  const problems: string[] = [];
  let [accepted, rewritten, next] = [0, 0, 0];
  const worker = async (): Promise<void> => {
    for (let pod = pods[next]; pod !== undefined; pod = pods[next]) {
      next += 1;
      const [without, reviewed] = await Promise.all([create(WITHOUT, pod.json), create("default", pod.json)]);
      if (reviewed.status !== without.status) {
        problems.push(JSON.stringify({ pod: pod.json, without: without.body, reviewed: reviewed.body }));
      } else if (without.status === 201) {
        accepted += 1;
        const comparison = compare(pod, without.body as Pod, reviewed.body as Pod);
        problems.push(...comparison.problems);
        rewritten += comparison.rewritten;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  expect(problems.slice(0, 5)).toEqual([]);
  // Enough of each for the property to mean something.
  expect(accepted).toBeGreaterThan(PODS * 0.8);
  expect(accepted).toBeLessThan(PODS);
  expect(rewritten).toBeGreaterThan(PODS);
  const metrics = await (await fetch(`${webhook.management}/metrics`)).text();
  expect(metrics).not.toContain('webhook_reviews_total{outcome="failed"}');
}, 120_000);

it("a container that kubectl debug adds is rewritten, and what runs already stays", async () => {
  const random = createRandom(7);
  const path = "/api/v1/namespaces/default/pods";
  const image = "busybox:1.37";
  for (let round = 0; round < 20; round += 1) {
    const name = `debugged-${round}`;
    const containers = Array.from({ length: 1 + random.below(4) }, (_, index) => ({
      name: `main-${index}`,
      image: "nginx",
    }));
    const body = { metadata: { name }, spec: { containers } };
    const stored = await askApi(access, { method: "POST", path, body });
    expect(stored.status, JSON.stringify(stored.body)).toBe(201);
    let current = stored.body as Pod;
    const [target] = current.spec.containers;
    for (const added of ["debug-1", "debug-2"]) {
      const ephemeralContainers = [
        ...(current.spec.ephemeralContainers ?? []),
        { name: added, image, targetContainerName: target?.name },
      ];
      const debugged = { ...current, spec: { ...current.spec, ephemeralContainers } };
      const answer = await askApi(access, {
        method: "PUT",
        path: `${path}/${name}/ephemeralcontainers`,
        body: debugged,
      });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      current = answer.body as Pod;
    }
    const [was, is] = [imagesOf(stored.body as Pod), imagesOf(current)];
    const cached = `${ENDPOINT}/docker.io/library/${image}`;
    expect(is).toEqual(new Map([...was, ["debug-1", cached], ["debug-2", cached]]));
  }
});

it("follows what the controllers publish: unhealthy, an owner in a loop, healthy again", async () => {
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "1-2-3", controller: true }];
  const pod = {
    metadata: { generateName: "web-", ownerReferences },
    spec: { containers: [{ name: "web", image: "nginx" }] },
  };
  const skipped = async () => notes((await create("default", pod)).body as Pod, SKIPPED_IMAGES_ANNOTATION);
  const owner = { namespace: "default", apiVersion: "apps/v1", kind: "ReplicaSet", name: "web" };
  expect(await skipped()).toEqual({});

  publish("..2", { healthy: false, reasons: ["the registry is not ready"] });
  await eventually(async () => expect(await skipped()).toEqual({ web: "unhealthy" }));
  const ready = await (await fetch(`${webhook.management}/readyz?verbose`)).text();
  expect(ready).toContain("[!] cluster state: the registry is not ready");

  publish("..3", { healthy: true, loops: [{ ...owner, until: new Date(Date.now() + 60_000) }] });
  await eventually(async () => expect(await skipped()).toEqual({ web: "loop" }));

  publish("..4", { healthy: true, loops: [{ ...owner, until: new Date(Date.now() - 1) }] });
  await eventually(async () => expect(await skipped()).toEqual({}));
});

it("the commands of docs/troubleshooting.md show what it says, for every reason there is", async () => {
  const text = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, reason]) => reason);
  expect(rows).toEqual(SKIP_REASONS);

  await applyDefinition(connect(server));
  const make = (path: string, body: object) => askApi(access, { method: "POST", path: `/api/v1/${path}`, body });
  const system = "cache-registry-system";
  for (const name of ["shop", system]) await make("namespaces", { metadata: { name } });
  const spec = { containers: [{ name: "web", image: "ghcr.io/a" }], imagePullSecrets: [{ name: "regcred" }] };
  await make("namespaces/shop/pods", { metadata: { name: "web" }, spec });
  const data = { "state.json": "the state" };
  await make(`namespaces/${system}/configmaps`, { metadata: { name: "cache-registry-cluster-state" }, data });

  const commands = text.split("\n").filter((line) => line.startsWith("kubectl "));
  const outputs = new Map<string, string>();
  for (const command of commands) {
    const line = command.replace("kubectl", `"${server.kubectl}" --kubeconfig="${server.kubeconfig}"`);
    outputs.set(command, (await promisify(execFile)("sh", ["-ec", line])).stdout);
  }
  expect(commands.length).toBeGreaterThan(8);
  const outputOf = (part: string) => outputs.get(commands.find((command) => command.includes(part)) ?? "");
  expect(outputOf("get pod web -o jsonpath")).toBe('{"web":"private"}\n');
  expect(outputOf("get pods -A")).toMatch(/^shop +web +\{"web":"private"\}$/m);
  expect(outputOf("--dry-run=server")).toContain("localhost:7439/docker.io/library/nginx:1.27\n");
  expect(outputOf("configmap")).toBe("the state");
});
