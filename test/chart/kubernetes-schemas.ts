import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { glob, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { cacheDirectory } from "../../hack/tools/cache-directory.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { lock } from "../../hack/tools/lock.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { eventually } from "../support/eventually.ts";
import { kindSchemas, type OpenApiDocument } from "./openapi-schemas.ts";

const run = promisify(execFile);
const CRDS = ["cert-manager-crds", "flux-source-crds", "gateway-api-crds", "istio-crds", "prometheus-operator-crds"];
/** Groups of Kubernetes' own that a chart writes objects of, and those of the definitions above. */
const GROUPS = [
  "admissionregistration.k8s.io/v1",
  "apiextensions.k8s.io/v1",
  "apps/v1",
  "autoscaling/v2",
  "batch/v1",
  "networking.k8s.io/v1",
  "policy/v1",
  "rbac.authorization.k8s.io/v1",
];

interface Definition {
  readonly kind?: string;
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly served: boolean }[];
  };
}

/**
 * A folder with a JSON schema for each kind, from the OpenAPI documents of the real API server with the definitions of
 * cert-manager, Flux, Gateway API, Istio and the Prometheus operator installed. Made once per version of all these.
 */
export async function kubernetesSchemas(): Promise<string> {
  const log = (line: string) => process.stderr.write(`${line}\n`);
  const tools = await ensureTools(["kube-apiserver", ...CRDS], { log });
  const hash = createHash("sha256").update(Object.values(tools).join("\n"));
  for (const source of ["kubernetes-schemas.ts", "openapi-schemas.ts"]) {
    hash.update(readFileSync(join(import.meta.dirname, source)));
  }
  const folder = join(cacheDirectory(), "schemas", hash.digest("hex").slice(0, 16));
  if (existsSync(folder)) return folder;
  const held = await lock(`${folder}.lock`, () => log("the Kubernetes schemas are being made by another process"));
  try {
    if (!existsSync(folder))
      await make(
        folder,
        CRDS.map((name) => tools[name] ?? ""),
      );
  } finally {
    await held.release();
  }
  return folder;
}

async function make(folder: string, crdFolders: readonly string[]): Promise<void> {
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  const server = await startApiServer();
  try {
    const definitions = (await Promise.all(crdFolders.map(definitionsIn))).flat();
    await writeFile(
      join(unfinished, "definitions.json"),
      JSON.stringify({ apiVersion: "v1", kind: "List", items: definitions }),
    );
    await run(server.kubectl, [
      `--kubeconfig=${server.kubeconfig}`,
      ...["apply", "--server-side", "-f", join(unfinished, "definitions.json")],
    ]);
    const expected = definitions.flatMap(expectedFiles);
    const groups = new Set([...GROUPS, ...expected.map(dirname)]);
    for (const path of ["api/v1", ...[...groups].map((group) => `apis/${group}`)]) {
      const files = expected.filter((file) => `apis/${dirname(file)}` === path);
      await writeSchemas(await schemasAt(server, path, files), unfinished);
    }
    await rename(unfinished, folder);
  } finally {
    await server.stop();
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** The CustomResourceDefinitions of a folder; what else lies there (policies, a kustomization) is not wanted. */
async function definitionsIn(folder: string): Promise<Definition[]> {
  const files: string[] = [];
  for await (const file of glob("*.yaml", { cwd: folder })) files.push(file);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, basename(file)), "utf8")));
  return texts
    .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Definition | null))
    .filter((one): one is Definition => one?.kind === "CustomResourceDefinition");
}

function expectedFiles({ spec }: Definition): string[] {
  const served = spec.versions.filter((version) => version.served);
  return served.map(({ name }) => `${spec.group}/${name}/${spec.names.kind.toLowerCase()}.json`);
}

/** A definition is published some time after it was established. */
function schemasAt(server: ApiServer, path: string, expected: readonly string[]) {
  return eventually(async () => {
    const args = [`--kubeconfig=${server.kubeconfig}`, "get", "--raw", `/openapi/v3/${path}`];
    const { stdout } = await run(server.kubectl, args, { maxBuffer: 64 * 1024 * 1024 });
    const found = kindSchemas(JSON.parse(stdout) as OpenApiDocument);
    const missing = expected.filter((file) => !found[file]);
    if (missing.length > 0) throw new Error(`/openapi/v3/${path} does not have ${missing.join(", ")} yet`);
    return found;
  }, 60_000);
}

async function writeSchemas(schemas: Readonly<Record<string, unknown>>, folder: string): Promise<void> {
  for (const [file, schema] of Object.entries(schemas)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), JSON.stringify(schema));
  }
}
