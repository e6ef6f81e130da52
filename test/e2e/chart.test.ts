/**
 * The chart as its users get it: pushed by helm into our own registry, installed from there with two of the example values,
 * verified by `helm test`. Without cert-manager, so the controllers make the webhook's certificate.
 */
import { execFile } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { pod } from "../../hack/stage/objects.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { CHART } from "../chart/helm.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { configured } from "./chapters/configured.ts";
import { useScene } from "./scene.ts";

const run = promisify(execFile);
const IMAGE = { repository: "library/charted", tag: "v1" };
const USER = 65532;

const scene = useScene({ install: false, certManager: false });
let registry: RegistryProcess;
let directory: string;
let chart: { readonly chart: string; readonly chartArguments: readonly string[] };

/** Not `spawnSync`: the stand-in for docker.io is served by this process. */
async function helm(...args: string[]): Promise<string> {
  const { helm: program = "helm" } = await ensureTools(["helm"], { log: () => undefined });
  const { stdout, stderr } = await run(program, args);
  return stdout + stderr;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "creg-e2e-chart-"));
  registry = await startRegistryProcess();
  const repository = `oci://${new URL(registry.url).host}/charts`;
  await helm("package", CHART, "--version", "7.8.9", "--destination", directory);
  await helm("push", join(directory, "cache-registry-7.8.9.tgz"), repository, "--plain-http");
  chart = { chart: `${repository}/cache-registry`, chartArguments: ["--version", "7.8.9", "--plain-http"] };
  await scene().stage.publish(IMAGE);
});
afterAll(async () => {
  await registry?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

interface Values {
  readonly registry: { readonly persistence?: object };
  readonly upstreams?: readonly object[];
}

/** The example, with what the stage needs: its stand-in for docker.io and an image that is there. */
function example(name: string): Values & Record<string, unknown> {
  const values = parse(readFileSync(join(CHART, `examples/${name}.yaml`), "utf8")) as Values;
  const [upstream = { registry: "docker.io" }] = values.upstreams ?? [];
  return {
    ...values,
    upstreams: [{ ...upstream, endpoints: [scene().stage.upstreamUrl] }],
    test: { image: `docker.io/${IMAGE.repository}:${IMAGE.tag}` },
  };
}

async function namespace(name: string, enforce: string): Promise<void> {
  const labels = { "pod-security.kubernetes.io/enforce": enforce };
  await scene().apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
}

async function helmTest(): Promise<string> {
  const { name, namespace } = scene().release;
  const target = ["--kubeconfig", scene().stage.cluster.kubeconfig, "--namespace", namespace];
  return helm("test", name, ...target, "--logs", "--timeout", "1m");
}

async function runsThroughTheCache(name: string): Promise<void> {
  await scene().apply(pod(name, `${IMAGE.repository.replace("library/", "")}:${IMAGE.tag}`));
  const { spec } = await scene().running(name);
  expect(spec.containers[0]?.image).toBe(`localhost:7439/docker.io/${IMAGE.repository}:${IMAGE.tag}`);
  await scene().deletePod(name);
}

describe("the chart from our own registry", () => {
  it("installs with the minimal values into a restricted namespace, the proxy in another, and helm test pulls through it", async () => {
    await namespace("restricted-system", "restricted");
    await namespace("proxies", "privileged");
    const values = { ...example("minimal"), proxy: { namespace: "proxies" }, uninstall: { evictPods: true } };
    await scene().install({ ...chart, namespace: "restricted-system", values });
    const output = await helmTest();
    expect(output).toMatch(/Phase:\s+Succeeded/);
    expect(output).toMatch(/\/v2\/docker.io\/library\/charted\/manifests\/v1: \d+ bytes, sha256:/);
    await runsThroughTheCache("on-minimal");
    // once for helm test, and nothing for the node: its proxy found the registry by name
    const gets = Object.values(scene().upstreamGets(IMAGE.repository, "blobs"));
    expect(gets.length).toBeGreaterThan(1);
    expect(gets.filter((count) => count > 1)).toEqual([]);
    expect(await scene().release.notes()).toContain("cache-registry 0.1.0 is installed");
    await scene().release.uninstall();
    const left = await scene().stage.cluster.kubectl(["-n", "proxies", "get", "daemonsets,configmaps", "-o", "name"]);
    expect(left.split("\n").filter((name) => name.includes("cache-registry"))).toEqual([]);
  });

  it("installs with the edge values: one of each, the cache in a folder of the node", async () => {
    const folder = join(directory, "store");
    await run("install", ["-d", "-o", String(USER), "-g", String(USER), folder]);
    chownSync(directory, USER, USER);
    const values = example("edge");
    const persistence = { ...values.registry.persistence, hostPath: folder };
    await scene().install({ ...chart, values: { ...values, registry: { ...values.registry, persistence } } });
    expect(await helmTest()).toMatch(/Phase:\s+Succeeded/);
    await runsThroughTheCache("on-edge");
    expect(existsSync(join(folder, "blobs/sha256"))).toBe(true);
  });
});

describe("values that the parts must understand together", () => {
  configured(scene);
});
