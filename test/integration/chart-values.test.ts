/** Releases with other values than the defaults on a real API server: what it validates, no schema does; and each follows on another. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CHART, helm } from "../chart/helm.ts";
import { EVERY_VALUE, EXTERNAL_REGISTRY, HIGHLY_AVAILABLE, STORES } from "../chart/value-sets.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";

const CERTIFICATES = { mode: "selfManaged" };
const SIDECAR = { name: "sidecar", image: "example.com/sidecar:1" };
const ZONES = { maxSkew: 1, topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway" };
const OF_EACH = {
  topologySpreadConstraints: [ZONES],
  extraVolumes: [{ name: "more", emptyDir: {} }],
  extraVolumeMounts: [{ name: "more", mountPath: "/more" }],
  extraContainers: [SIDECAR],
  extraArgs: ["--more"],
  serviceAccount: { name: "own", automount: true },
};

/** In this order: each is an upgrade of the one before. */
const RELEASES: Readonly<Record<string, Record<string, unknown>>> = {
  "the defaults": {},
  "pods that go before others come": {
    webhook: { updateStrategy: { type: "Recreate" } },
    controllers: { updateStrategy: { type: "Recreate" } },
  },
  "a part of the rolling update's parameters": { webhook: { updateStrategy: { rollingUpdate: { maxSurge: 2 } } } },
  "those pods once more": { webhook: { updateStrategy: { type: "Recreate" } } },
  "every value changed": EVERY_VALUE,
  "many replicas, scaled, on every node's port and behind an Ingress": {
    ...HIGHLY_AVAILABLE,
    upstreams: [{ registry: "docker.io", hosts: ["docker.example.com"] }],
    registry: {
      ...HIGHLY_AVAILABLE.registry,
      hpa: { enabled: true },
      management: { tls: true },
      service: { type: "NodePort", exposeManagement: true },
      ingress: { enabled: true, className: "nginx", hosts: ["images.example.com"] },
    },
    webhook: { hpa: { enabled: true }, pdb: { minAvailable: "50%" } },
  },
  "a load balancer, a folder of the node": {
    registry: {
      ...STORES["a folder of the node"].registry,
      service: { type: "LoadBalancer", loadBalancerClass: "example.com/lb", loadBalancerSourceRanges: ["10.0.0.0/8"] },
    },
  },
  "the keys of every component": {
    registry: OF_EACH,
    webhook: { ...OF_EACH, serviceAccount: { name: "own-webhook" } },
    controllers: { ...OF_EACH, serviceAccount: { create: false, name: "default" } },
    proxy: { ...OF_EACH, serviceAccount: { create: false } },
  },
  "the registry of another cluster": EXTERNAL_REGISTRY,
};

let server: ApiServer;
let dir: string;

beforeAll(async () => {
  server = await startApiServer();
  dir = await mkdtemp(join(tmpdir(), "creg-chart-values-"));
});

afterAll(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

it.each(Object.entries(RELEASES))("installs with %s", async (_, values) => {
  const file = join(dir, "values.yaml");
  await writeFile(file, JSON.stringify({ certificates: CERTIFICATES, ...values }));
  const release = ["upgrade", "--install", "--create-namespace", "--namespace", "images", "creg", CHART];
  const { status, errors } = await helm([...release, "--values", file, "--kubeconfig", server.kubeconfig]);
  // pods of the proxy are warned about where the namespace enforces a Pod Security profile; this one does not
  expect(errors.replace(/^I\d+.*\n/gm, "")).not.toMatch(/warning|error/i);
  expect(status).toBe(0);
});
