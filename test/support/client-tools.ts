import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureDebianPackages } from "../../hack/tools/debian.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";

const run = promisify(execFile);
const log = { log: () => {} };
const DEBIAN = new Set(["skopeo", "buildah"]);

/** Runs a client: its name, its arguments, and a home folder instead of the one that all runs share. */
export type ClientTools = (name: string, args: readonly string[], home?: string) => Promise<string>;

/**
 * Clients of registries by name, with a home folder of their own: no credentials or settings of the machine. Resolves with
 * what a run wrote to standard output, trimmed; rejects with what it wrote to standard error.
 */
export async function clientTools(names: readonly string[], work: string): Promise<ClientTools> {
  await ensureDebianPackages(
    names.filter((name) => DEBIAN.has(name)),
    log,
  );
  const built = await ensureTools(
    names.filter((name) => !DEBIAN.has(name)),
    log,
  );
  return async (name, args, home = join(work, "home")) => {
    if (!names.includes(name)) throw new Error(`${name} was not asked for`);
    const env = { HOME: home, DOCKER_CONFIG: join(home, ".docker"), PATH: process.env.PATH };
    const { stdout } = await run(built[name] ?? name, [...args], { env, cwd: work, maxBuffer: 16 << 20 });
    return stdout.trim();
  };
}
