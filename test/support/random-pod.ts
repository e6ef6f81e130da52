import { randomReferenceText } from "../../packages/core/src/testing/random-reference.ts";
import type { Random } from "../../packages/core/src/testing/seeded-random.ts";
import { randomSettings, randomVolume } from "./random-pod-parts.ts";

type Json = Record<string, unknown>;

/** What the webhook of the test is configured with, so that every reason can occur. */
export const RANDOM_POD_RULES = { images: { deny: ["quay.io/*"] }, registries: ["harbor:5000"] } as const;

export type RandomPod = {
  readonly json: Json;
  /** Containers and image volumes by the key of the annotations → why left as written; undefined: rewritten. */
  readonly expected: ReadonlyMap<string, string | undefined>;
};

type Image = { readonly text: string; readonly reason?: string; readonly untouched?: true };

const LONG = `ghcr.io/${"a/".repeat(120)}a`;
const ODD_IMAGES: readonly [Image, ...Image[]] = [
  { text: "Not Valid", reason: "invalid" },
  { text: "nginx:", reason: "invalid" },
  { text: "nginx@sha256:12", reason: "invalid" },
  { text: "https://docker.io/library/nginx", reason: "invalid" },
  { text: "ghcr.io/Upper/Case", reason: "invalid" },
  { text: "a".repeat(64), reason: "invalid" },
  { text: "ünïcödé/🐳:1", reason: "invalid" },
  { text: 'quote"and\\backslash', reason: "invalid" },
  { text: "unlisted:5000/a", reason: "invalid" },
  { text: "localhost/a", reason: "invalid" },
  { text: "127.0.0.1:5000/a", reason: "invalid" },
  { text: "[fd00::1]:5000/a", reason: "invalid" },
  { text: "quay.io/a/b:1", reason: "denied" },
  { text: "gcr.io/a/b", reason: "private" },
  { text: "1.dkr.ecr.eu-west-1.amazonaws.com/a", reason: "private" },
  { text: LONG, reason: "too-long" },
  { text: "harbor:5000/a" },
  { text: "HARBOR:5000/a:v1" },
  { text: "index.docker.io/nginx" },
  { text: "nginx" },
  { text: "localhost:7439/docker.io/library/redis:7", untouched: true },
  { text: "LOCALHOST:7439/team/app", untouched: true },
];
/** The order in which the webhook asks, for what a pod, a policy and an image can have at once. */
const ORDER = ["critical", "owner", "invalid", "denied", "never", "private", "too-long"];

const OWNERS: readonly [Json | undefined, ...(Json | undefined)[]] = [
  undefined,
  ownedBy("apps/v1", "ReplicaSet"),
  ownedBy("apps/v1", "DaemonSet"),
  ownedBy("batch/v1", "Job"),
  ownedBy("postgresql.cnpg.io/v1", "Cluster"),
  { ...ownedBy("x.example.com/v1", "Y"), controller: false },
];

function ownedBy(apiVersion: string, kind: string): Json {
  return { apiVersion, kind, name: "owner", uid: "7c1e5a0e-9a4d-4f53-9b39-0d3d0a2a7f10", controller: true };
}

function randomImage(random: Random): Image {
  return random.chance(0.6) ? { text: randomReferenceText(random) } : random.pick(ODD_IMAGES);
}

/** A pod of any shape: about one in ten is refused by the API server's validation, whatever the webhook does. */
export function randomPod(random: Random, name: string): RandomPod {
  const expected = new Map<string, string | undefined>();
  const owner = random.pick(OWNERS);
  const critical = random.chance(0.06);
  const windows = random.chance(0.05);
  const pullSecrets = random.chance(0.15);
  const ofPod = [
    ...(critical ? ["critical"] : []),
    ...(owner?.kind === "Cluster" ? ["owner"] : []),
    ...(pullSecrets ? ["private"] : []),
  ];
  const expect = (key: string, image: Image, policy: string | undefined): void => {
    if (windows || image.untouched) return;
    const reasons = [...ofPod, ...(image.reason ? [image.reason] : []), ...(policy === "Never" ? ["never"] : [])];
    expected.set(
      key,
      ORDER.find((reason) => reasons.includes(reason)),
    );
  };
  const container = (kind: string) => (index: number) => {
    const image = randomImage(random);
    const imagePullPolicy = random.pick([undefined, undefined, "Always", "IfNotPresent", "Never"]);
    const key = `${kind}-${index}`;
    expect(key, image, imagePullPolicy);
    return { name: key, image: image.text, imagePullPolicy, ...randomSettings(random, kind, windows) };
  };
  const volume = (index: number) => {
    if (!random.chance(0.3)) return randomVolume(random, `v-${index}`);
    const image = randomImage(random);
    const pullPolicy = random.pick([undefined, "Always", "IfNotPresent", "Never"]);
    expect(`volume/v-${index}`, image, pullPolicy);
    return { name: `v-${index}`, image: { reference: image.text, pullPolicy } };
  };
  const json = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      ...randomMetadata(random),
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
    spec: {
      initContainers: random.chance(0.5) ? list(random.below(4), container("init")) : undefined,
      containers: list(1 + random.below(4), container("main")),
      volumes: random.chance(0.7) ? list(random.below(5), volume) : undefined,
      ...(pullSecrets ? { imagePullSecrets: [{ name: "regcred" }] } : {}),
      ...(critical ? { priorityClassName: random.pick(["system-node-critical", "system-cluster-critical"]) } : {}),
      ...(windows ? { os: { name: "windows" } } : {}),
      ...randomPodSettings(random, windows),
    },
  };
  return { json: random.chance(0.08) ? spoilt(random, json) : json, expected };
}

function list<Item>(length: number, create: (index: number) => Item): Item[] {
  return Array.from({ length }, (_, index) => create(index));
}

function randomMetadata(random: Random): Json {
  const labels = random.pick<Json | undefined>([undefined, {}, { app: "x", "a.example.com/b": "y" }]);
  const annotations = random.pick<Json | undefined>([
    undefined,
    {},
    { "a.example.com/b_c": "x", constructor: "y", toString: "z" },
    // Notes that somebody else wrote in our name.
    { "cache-registry.enix.io/original-images": '{"main-0":"forged"}', note: "n".repeat(2_000) },
    { "cache-registry.enix.io/skipped-images": "no JSON" },
  ]);
  return { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
}

function randomPodSettings(random: Random, windows: boolean): Json {
  const maybe = (share: number, part: Json): Json => (random.chance(share) ? part : {});
  return {
    serviceAccountName: "app",
    ...maybe(0.5, { restartPolicy: random.pick(["Always", "OnFailure", "Never"]) }),
    ...maybe(0.3, { terminationGracePeriodSeconds: random.below(100), activeDeadlineSeconds: 1 + random.below(100) }),
    ...maybe(0.2, { nodeSelector: { disk: "ssd" }, tolerations: [{ operator: "Exists" }] }),
    ...maybe(0.2, { hostAliases: [{ ip: "10.0.0.1", hostnames: ["a.example.com"] }] }),
    ...maybe(0.2, { dnsPolicy: "None", dnsConfig: { nameservers: ["10.0.0.10"], options: [{ name: "ndots" }] } }),
    ...maybe(0.2, { readinessGates: [{ conditionType: "example.com/ready" }], schedulingGates: [{ name: "a/b" }] }),
    ...maybe(0.2, { hostname: "h", subdomain: "s", setHostnameAsFQDN: true, enableServiceLinks: false }),
    ...(windows ? {} : maybe(0.1, { hostNetwork: true, hostPID: true, shareProcessNamespace: false })),
    ...(windows
      ? {}
      : maybe(0.3, { securityContext: { runAsUser: 1, fsGroup: 2, sysctls: [], supplementalGroups: [3] } })),
    ...maybe(0.2, {
      topologySpreadConstraints: [
        { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", labelSelector: {} },
      ],
    }),
    ...maybe(0.2, {
      affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "zone" }] } },
    }),
  };
}

/** With something that the API server refuses. */
function spoilt(random: Random, pod: Json & { readonly spec: Json & { readonly containers: Json[] } }): Json {
  const { spec } = pod;
  const [first = {}] = spec.containers;
  const change = random.pick<Json>([
    { containers: [...spec.containers, first] },
    { containers: [{ ...first, image: " nginx" }] },
    { containers: [{ ...first, imagePullPolicy: "Sometimes" }] },
    { containers: [{ ...first, name: "Not_A_Name" }] },
    { volumes: [{ name: "two", emptyDir: {}, image: { reference: "nginx" } }] },
    { volumes: [{ name: "none", image: { reference: "" } }] },
    { containers: [] },
    { restartPolicy: "Sometimes" },
  ]);
  return { ...pod, spec: { ...spec, ...change } };
}
