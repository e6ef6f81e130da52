import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface HostsTomlOptions {
  readonly certsDir: string;
  /** `docker.io`, `10.88.0.1:5000`, or `_default` for every registry without a folder of its own. */
  readonly registry: string;
  /** Base URLs asked in order; plain HTTP is what their scheme says. */
  readonly endpoints: readonly string[];
  /** Asked when every endpoint failed; default: the registry itself. */
  readonly server?: string;
}

/**
 * Tells containerd where to pull a registry's images (containerd docs/hosts.md); it reads the file at every pull, and its
 * absence too: to undo this, remove the registry's folder.
 */
export async function writeHostsToml({ certsDir, registry, endpoints, server }: HostsTomlOptions): Promise<void> {
  await mkdir(join(certsDir, registry), { recursive: true });
  const hosts = endpoints.map((url) => `[host.${JSON.stringify(url)}]\n  capabilities = ["pull", "resolve"]\n`);
  const head = server ? `server = ${JSON.stringify(server)}\n\n` : "";
  await writeFile(join(certsDir, registry, "hosts.toml"), head + hosts.join("\n"));
}
