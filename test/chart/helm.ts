import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { nonconformities } from "./kubeconform.ts";
import { type Manifest, Manifests } from "./manifests.ts";

export const CHART = join(import.meta.dirname, "../../charts/cache-registry");
export const CERT_MANAGER = "cert-manager.io/v1";

export interface RenderOptions {
  readonly values?: Record<string, unknown>;
  readonly release?: string;
  readonly namespace?: string;
  /** APIs of the cluster besides Kubernetes' own. */
  readonly apiVersions?: readonly string[];
  /** Further arguments of `helm template`. */
  readonly arguments?: readonly string[];
}

let path: Promise<string> | undefined;

async function findHelm(): Promise<string> {
  if (process.env.CREG_HELM) return process.env.CREG_HELM;
  const { helm } = await ensureTools(["helm"], { log: (line) => console.error(line) });
  if (!helm) throw new Error("the tools folder gave no path of helm");
  return helm;
}

/** Runs the real helm: from `CREG_HELM`, else the pinned one, which is built when it is not there yet. */
export async function helm(
  args: readonly string[],
  input = "",
): Promise<{ status: number | null; output: string; errors: string }> {
  path ??= findHelm();
  const { status, stdout, stderr, error } = spawnSync(await path, args, { input, encoding: "utf8" });
  if (error) throw error;
  return { status, output: stdout, errors: stderr };
}

function template({
  values = {},
  release = "cache-registry",
  namespace = "cache-registry-system",
  ...rest
}: RenderOptions) {
  const apis = (rest.apiVersions ?? [CERT_MANAGER]).flatMap((api) => ["--api-versions", api]);
  const args = [
    "template",
    release,
    CHART,
    "--namespace",
    namespace,
    "--values",
    "-",
    ...apis,
    ...(rest.arguments ?? []),
  ];
  return helm(args, stringify(values));
}

/**
 * What `helm template` prints, as text. By default into a cluster that has cert-manager.
 * @throws Error also when one of the objects does not conform to its schema, so that no test renders a wrong one
 */
export async function renderText(options: RenderOptions = {}): Promise<string> {
  const { status, output, errors } = await template(options);
  if (status !== 0) throw new Error(`helm template failed: ${errors}`);
  const problems = await nonconformities(output);
  if (problems.length > 0) throw new Error(`the rendered objects do not conform:\n${problems.join("\n")}`);
  return output;
}

export async function render(options: RenderOptions = {}): Promise<Manifests> {
  const documents = parseAllDocuments(await renderText(options), { version: "1.1" });
  const list: Manifest[] = [];
  for (const document of documents) {
    if (document.errors.length) throw new Error(`not valid YAML: ${document.errors.join("; ")}`);
    const manifest = document.toJS() as Manifest | null;
    if (manifest) list.push(manifest);
  }
  return new Manifests(list);
}

/** The message with which `helm template` refuses these values. */
export async function refusal(options: RenderOptions): Promise<string> {
  const { status, output, errors } = await template(options);
  if (status === 0) throw new Error(`helm template accepted the values and printed ${output.length} characters`);
  return errors;
}
