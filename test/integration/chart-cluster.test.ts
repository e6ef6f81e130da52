/** The chart and a real API server: Pod Security, every example, and an installation from our own registry. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHART, helm, render } from "../chart/helm.ts";
import type { Workload } from "../chart/manifests.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";

const run = promisify(execFile);
let server: ApiServer;
let dir: string;

beforeAll(async () => {
  server = await startApiServer();
  dir = await mkdtemp(join(tmpdir(), "creg-chart-cluster-"));
});
afterAll(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function kubectl(args: readonly string[], input?: object): Promise<string> {
  const running = run(server.kubectl, ["--kubeconfig", server.kubeconfig, ...args]);
  running.child.stdin?.end(input && JSON.stringify(input));
  return (await running).stdout;
}

describe("Pod Security", () => {
  const NAMESPACES = ["restricted", "privileged"] as const;

  beforeAll(async () => {
    for (const name of NAMESPACES) {
      const labels = { "pod-security.kubernetes.io/enforce": name };
      await kubectl(["create", "-f", "-"], { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
    }
    const priority = { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "x" }, value: 1 };
    await kubectl(["create", "-f", "-"], priority);
  });

  /** The API server's answer to a pod of the workload; undefined: it would be created. */
  async function refused(workload: Workload, namespace: string): Promise<string | undefined> {
    const { metadata, spec } = workload.spec.template;
    // nobody makes service accounts here, and the built-in priority classes are for kube-system alone
    const pod = { ...spec, serviceAccountName: undefined, priorityClassName: undefined };
    const object = { apiVersion: "v1", kind: "Pod", metadata: { ...metadata, name: "x", namespace }, spec: pod };
    const answer = kubectl(["create", "--dry-run=server", "-f", "-"], object);
    return answer.then(
      () => undefined,
      (error: Error) => error.message,
    );
  }

  const STORES = {
    storage: {
      blobs: { driver: "s3", s3: { bucket: "b", existingSecret: "s3" } },
      metadata: { driver: "postgres", postgres: { existingSecret: "db" } },
    },
    replicas: 2,
    replicaToken: { existingSecret: "t" },
    auth: { htpasswd: { enabled: true, existingSecret: "users" } },
    tls: { enabled: true },
  };

  it.each([
    ["by default", {}],
    ["with object store, database, users and TLS", { registry: STORES }],
    ["in mode mirror", { mode: "mirror" }],
  ])("restricted admits every pod but the proxy's %s", async (_when, values) => {
    const manifests = await render({ values: { ...values, uninstall: { evictPods: true } } });
    const proxy = manifests.workload("proxy");
    const others = manifests.workloads().filter((one) => one !== proxy);
    expect(others.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["Deployment", "Job"]));
    for (const one of others) expect(await refused(one, "restricted"), one.metadata.name).toBeUndefined();
    expect(await refused(proxy, "restricted")).toContain('violates PodSecurity "restricted:latest": host namespaces');
    expect(await refused(proxy, "privileged")).toBeUndefined();
  });

  it("is restricted for a whole release whose proxy has a namespace of its own", async () => {
    const manifests = await render({ namespace: "restricted", values: { proxy: { namespace: "privileged" } } });
    for (const one of manifests.workloads()) {
      expect(await refused(one, one.metadata.namespace ?? ""), one.metadata.name).toBeUndefined();
    }
  });

  it("restricted admits the pod of helm test", async () => {
    const [pod] = (await render()).ofKind("Pod");
    const object = { ...pod, metadata: { ...pod?.metadata, namespace: "restricted" } };
    expect(await kubectl(["create", "--dry-run=server", "-f", "-"], object)).toContain("created (server dry run)");
  });
});

describe("the chart in our own registry", () => {
  let registry: RegistryProcess;
  beforeAll(async () => {
    registry = await startRegistryProcess();
  });
  afterAll(() => registry?.dispose());

  it("is pushed by helm, and installed from there", async () => {
    const packaged = await helm(["package", CHART, "--destination", dir]);
    expect(packaged.status, packaged.errors).toBe(0);
    const reference = `oci://${new URL(registry.url).host}/charts`;
    const pushed = await helm(["push", join(dir, "cache-registry-0.1.0.tgz"), reference, "--plain-http"]);
    expect(pushed.errors + pushed.output).toMatch(/Digest: sha256:[0-9a-f]{64}/);
    const values = ["--set", "certificates.mode=selfManaged"];
    const target = ["--kubeconfig", server.kubeconfig, "--namespace", "elsewhere", "--create-namespace"];
    const chart = [`${reference}/cache-registry`, "--version", "0.1.0", "--plain-http"];
    const installed = await helm(["install", "images", ...chart, ...target, ...values]);
    expect(installed.status, installed.errors).toBe(0);
    const deployments = await kubectl(["-n", "elsewhere", "get", "deployments", "-o", "name"]);
    expect(deployments.trim().split("\n")).toEqual([
      "deployment.apps/images-cache-registry-controllers",
      "deployment.apps/images-cache-registry-registry",
      "deployment.apps/images-cache-registry-webhook",
    ]);
    // as dependency-free as it was: the package has what the templates read, and no more than a chart needs
    const files = await run("tar", ["-tzf", join(dir, "cache-registry-0.1.0.tgz")]);
    expect(files.stdout).toContain("cache-registry/files/dashboard.json");
    expect(files.stdout).toContain("cache-registry/values.schema.json");
  });
});
