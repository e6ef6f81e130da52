import { spawnSync } from "node:child_process";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { kubernetesSchemas } from "./kubernetes-schemas.ts";

/** Its definition is in no Go module that can be had: the tests look at such an object themselves. */
const UNKNOWN_KINDS = ["GrafanaDashboard", "HelmRelease"];

interface Report {
  readonly resources?: readonly {
    readonly kind: string;
    readonly name: string;
    readonly status: string;
    readonly msg: string;
  }[];
  readonly summary: {
    readonly valid: number;
    readonly invalid: number;
    readonly errors: number;
    readonly skipped: number;
  };
}

let setUp: Promise<{ program: string; schemas: string }> | undefined;

async function prepare() {
  const { kubeconform = "" } = await ensureTools(["kubeconform"], { log: (line) => console.error(line) });
  return { program: kubeconform, schemas: await kubernetesSchemas() };
}

/** Documents that conformed already: most renderings differ in one or two objects only. */
const conforming = new Set<string>();

/** What kubeconform has to say against these YAML documents, one line per object; nothing when all of them conform. */
export async function nonconformities(yaml: string): Promise<string[]> {
  const documents = yaml.split(/^---$/m).filter((document) => /^kind: /m.test(document) && !conforming.has(document));
  if (documents.length === 0) return [];
  const problems = await check(documents.join("\n---\n"), documents.length);
  if (problems.length === 0) for (const document of documents) conforming.add(document);
  return problems;
}

async function check(yaml: string, count: number): Promise<string[]> {
  setUp ??= prepare();
  const { program, schemas } = await setUp;
  const args = [
    ...["-strict", "-summary", "-output", "json", "-skip", UNKNOWN_KINDS.join(",")],
    ...["-schema-location", `${schemas}/{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json`],
  ];
  const { stdout, stderr, error } = spawnSync(program, args, { input: yaml, encoding: "utf8" });
  if (error) throw error;
  if (stdout === "") throw new Error(`kubeconform printed nothing: ${stderr}`);
  const { resources = [], summary } = JSON.parse(stdout) as Report;
  const seen = summary.valid + summary.invalid + summary.errors + summary.skipped;
  if (seen !== count) throw new Error(`kubeconform saw ${seen} objects of ${count}`);
  return resources
    .filter(({ status }) => status !== "statusSkipped")
    .map(({ kind, name, msg }) => `${kind} ${name}: ${reasonIn(msg)}`);
}

/** Without the steps on the way to the reason: `at '/spec': 'allOf' failed`. */
function reasonIn(message: string): string {
  const reasons = message.split(/\s+- (?=at ')/).filter((step) => !/failed$/.test(step.trim()));
  return reasons.filter((step) => step.startsWith("at ")).join("; ") || message;
}
