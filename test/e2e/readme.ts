import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { IMAGE } from "../../hack/stage/stage.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { type Command, commandsOf } from "../support/document-commands.ts";
import { ROOT } from "../support/documents.ts";
import type { Scene } from "./scene.ts";

const run = promisify(execFile);

/** The command of the README that begins so. */
export function readmeCommand(beginning: string): Command {
  const found = commandsOf("README.md").find(({ text }) => text.startsWith(beginning));
  if (!found) throw new Error(`the README has no command "${beginning} …"`);
  return found;
}

/** Types the README's command in a checkout; resolves with what it wrote. What the README leaves to the reader is the stage's. */
export async function typeReadme(scene: Scene, beginning: string): Promise<string> {
  const { kubeconfig, logs } = scene.stage.cluster;
  const { helm = "helm", kubectl = "kubectl" } = await ensureTools(["helm", "kubectl"], { log: () => undefined });
  const replaced: readonly (readonly [string, string])[] = [
    ["values.yaml", join(logs, `values-${scene.release.name}.yaml`)],
    ["<your registry>", IMAGE.registry],
    ["<repository>", IMAGE.repository],
    ["<tag>", IMAGE.tag],
    // The stage's image has one program.
    ["-- sleep", "-- /probe sleep"],
  ];
  const programs: Readonly<Record<string, string>> = {
    "npx cache-registry": `"${process.execPath}" packages/cli/src/main.ts`,
    helm: `"${helm}"`,
    kubectl: `"${kubectl}"`,
  };
  const { text } = readmeCommand(beginning);
  const line = replaced
    .reduce((typed, [from, to]) => typed.replace(from, () => to), text)
    .replace(/^(npx cache-registry|helm|kubectl)/, (name) => programs[name] ?? name);
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  const { stdout } = await run("sh", ["-ec", line], { cwd: ROOT, env });
  return stdout;
}
