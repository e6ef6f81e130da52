/** The life of a release on a real API server: nothing runs, but everything is validated, defaulted and owned as in a cluster. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CHART, helm } from "../chart/helm.ts";
import { selfSigned } from "../e2e/self-signed.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { eventually } from "../support/eventually.ts";

const run = promisify(execFile);
// A name that begins like our configuration variables, and like nothing in the chart.
const RELEASE = "creg";
const NAMESPACE = "images";
const KINDS =
  "deployments,daemonsets,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,persistentvolumeclaims," +
  "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,customresourcedefinitions";

type Item = {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
};

let server: ApiServer;
let dir: string;

beforeAll(async () => {
  server = await startApiServer();
  dir = await mkdtemp(join(tmpdir(), "creg-chart-release-"));
  const { certificate } = await selfSigned(`${RELEASE}-cache-registry-webhook.${NAMESPACE}.svc`);
  const values = {
    certificates: { existingSecret: "own-tls", caBundle: certificate },
    // As the ancestor chart spelt it. Kept, as those do who push images of their own.
    registry: { persistance: { enabled: true, size: "1Gi", annotations: { "helm.sh/resource-policy": "keep" } } },
  };
  await writeFile(join(dir, "values.yaml"), JSON.stringify(values));
});

afterAll(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function helmOn(...args: string[]): Promise<string> {
  const { status, output, errors } = await helm([...args, "--kubeconfig", server.kubeconfig, "--namespace", NAMESPACE]);
  expect(errors.replace(/^I\d+.*\n/gm, "")).not.toMatch(/warning|error/i);
  expect(status).toBe(0);
  return output;
}

function install(): Promise<string> {
  const values = join(dir, "values.yaml");
  return helmOn("upgrade", "--install", "--create-namespace", RELEASE, CHART, "--values", values);
}

async function kubectl(...args: string[]): Promise<string> {
  return (await run(server.kubectl, ["--kubeconfig", server.kubeconfig, "--namespace", NAMESPACE, ...args])).stdout;
}

async function objects(): Promise<Item[]> {
  const selector = `app.kubernetes.io/instance=${RELEASE}`;
  return (JSON.parse(await kubectl("get", KINDS, "--selector", selector, "--output", "json")) as { items: Item[] })
    .items;
}

function uids(items: readonly Item[]): string[] {
  return items.map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.uid}`).sort();
}

/** All but the version: the API server counts it up for a claim that is applied as it is. */
function contents(items: readonly Item[]): unknown[] {
  return items.map(({ metadata, ...rest }) => ({ ...rest, metadata: { ...metadata, resourceVersion: undefined } }));
}

it("installs, upgrades without a change, leaves what it keeps, takes it over again, and the printed command ends it", async () => {
  await install();
  const installed = await objects();
  const count = (kind: string) => installed.filter((item) => item.kind === kind).length;
  expect(["Deployment", "DaemonSet", "PersistentVolumeClaim"].map(count)).toEqual([3, 1, 1]);
  expect(["CustomResourceDefinition", "MutatingWebhookConfiguration"].map(count)).toEqual([1, 1]);

  await install();
  expect(contents(await objects())).toEqual(contents(installed));

  const notes = await helmOn("get", "notes", RELEASE);
  await helmOn("uninstall", RELEASE);
  const names = (items: readonly Item[]) => items.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
  const CLAIM = "PersistentVolumeClaim creg-cache-registry-registry";
  const KEPT = [
    "ConfigMap creg-cache-registry-proxy",
    "CustomResourceDefinition cachedimages.cache-registry.enix.io",
    "DaemonSet creg-cache-registry-proxy",
    CLAIM,
    "Service creg-cache-registry-registry",
    "ServiceAccount creg-cache-registry-proxy",
  ];
  const kept = await eventually(async () => {
    const left = await objects();
    expect(names(left)).toEqual(KEPT);
    return left;
  });

  await install();
  const again = await objects();
  expect(names(again)).toEqual(names(installed));
  expect(uids(again)).toEqual(expect.arrayContaining(uids(kept)));

  await helmOn("uninstall", RELEASE);
  const [, command = ""] = /^ +npx cache-registry (restore .*)$/m.exec(notes) ?? [];
  const main = join(CHART, "../../packages/cli/src/main.ts");
  await run(process.execPath, [main, ...command.split(" ")], { env: { KUBECONFIG: server.kubeconfig } });
  await eventually(async () => expect(names(await objects())).toEqual([CLAIM]));
});
