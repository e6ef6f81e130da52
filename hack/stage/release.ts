/** Our chart in a cluster: installed with helm, reached at its ClusterIPs, removed with helm. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { ensureTools } from "../tools/ensure.ts";
import { callManagement, type ManagementAddress, type ManagementRequest } from "./management-call.ts";
import { IMAGE, type Stage } from "./stage.ts";
import { webhookRewrites } from "./webhook-gate.ts";

const run = promisify(execFile);
const CHART = fileURLToPath(new URL("../../charts/cache-registry", import.meta.url));

export interface ReleaseOptions {
  readonly stage: Stage;
  readonly name?: string;
  readonly namespace?: string;
  /** Folder or `oci://` reference of a chart; default: the present one. */
  readonly chart?: string;
  /** Further arguments of helm about the chart: `--version`, `--plain-http`. */
  readonly chartArguments?: readonly string[];
  /** Merged over what the stage needs. */
  readonly values?: Readonly<Record<string, unknown>>;
}

export interface Release {
  readonly name: string;
  readonly namespace: string;
  /** The registry as this machine reaches it (its ClusterIP): `http://10.96.…:5000`. */
  registryUrl(): Promise<string>;
  /** A call of the registry's management API, with its token. */
  management(path: string, init?: ManagementRequest): Promise<{ status: number; body: unknown }>;
  /** What the chart printed after the installation. */
  notes(): Promise<string>;
  uninstall(): Promise<void>;
}

/** The values that fit the chart to the stage: our image from the node, the stand-in for docker.io. */
export function stageValues({ upstreamUrl }: Stage): Record<string, unknown> {
  return {
    image: { ...IMAGE, pullPolicy: "Never" },
    upstreams: [{ registry: "docker.io", endpoints: [upstreamUrl] }],
  };
}

/** Installs and waits until everything is ready and the webhook rewrites. @throws Error with helm's own words */
export async function installRelease({
  stage,
  name = "cache-registry",
  namespace = "cache-registry-system",
  chart = CHART,
  chartArguments = [],
  values = {},
}: ReleaseOptions): Promise<Release> {
  const { cluster } = stage;
  const { helm = "helm" } = await ensureTools(["helm"], { log: () => undefined });
  const file = join(cluster.logs, `values-${name}.yaml`);
  await writeFile(file, stringify({ ...stageValues(stage), ...values }));
  const target = ["--kubeconfig", cluster.kubeconfig, "--namespace", namespace];
  await run(helm, [
    "upgrade",
    "--install",
    "--create-namespace",
    ...target,
    "--values",
    file,
    "--wait",
    "--timeout",
    "4m",
    name,
    chart,
    ...chartArguments,
  ]);
  await webhookRewrites(cluster, { name, namespace });
  const selector = `app.kubernetes.io/instance=${name}`;

  async function registryService(): Promise<ManagementAddress> {
    const [host, secrets] = await Promise.all([
      cluster.kubectl([
        "-n",
        namespace,
        "get",
        "service",
        "-l",
        `${selector},app.kubernetes.io/component=registry`,
        "-o",
        "jsonpath={.items[0].spec.clusterIP}",
      ]),
      cluster.kubectl(["-n", namespace, "get", "secret", "-o", "json"]),
    ]);
    const { items } = JSON.parse(secrets) as { items: { metadata: { name: string }; data?: Record<string, string> }[] };
    const find = (suffix: string) => items.find((item) => item.metadata.name.endsWith(suffix));
    const read = (value = "") => Buffer.from(value, "base64").toString();
    const token = read(find("-management-token")?.data?.token);
    const certificate = find("-registry-tls");
    if (!certificate) return { host, token };
    const servername = certificate.metadata.name.replace(/-tls$/, "");
    return { host, token, tls: { ca: read(certificate.data?.["ca.crt"]), servername } };
  }

  return {
    name,
    namespace,
    registryUrl: async () => `http://${(await registryService()).host}:5000`,
    management: async (path, init) => callManagement(await registryService(), path, init),
    notes: async () => (await run(helm, ["get", "notes", ...target, name])).stdout,
    async uninstall() {
      await run(helm, ["uninstall", ...target, "--wait", "--timeout", "3m", name]);
    },
  };
}
