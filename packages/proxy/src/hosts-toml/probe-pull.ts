import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { askToPull } from "./cri-pull.ts";
import { writeDurably } from "./durable-file.ts";
import { withMark } from "./hosts-file.ts";

/** Resolves nowhere (RFC 6761), so nobody but us is ever asked for it. */
const REGISTRY = "probe.cache-registry.invalid";
const IMAGE = `${REGISTRY}/probe:1`;
const TIMEOUT_MS = 10_000;

export type ProbeResult = {
  /** containerd reads its hosts.toml files where we write them. */
  readonly verified: boolean;
  readonly why?: string;
};

export type ProbePullOptions = {
  /** Of containerd. */
  readonly socket: string;
  /** What should be its config_path. */
  readonly directory: string;
};

/**
 * Has containerd pull an image that does not exist, from a registry that only a hosts.toml of ours leads to, and sees
 * whether it comes. Independent of whether the proxy runs. Never throws.
 */
export async function probePull({ socket, directory }: ProbePullOptions): Promise<ProbeResult> {
  const arrived = new AbortController();
  const server = createServer((request, response) => {
    if (new URL(request.url ?? "/", "http://localhost").searchParams.get("ns") === REGISTRY) arrived.abort();
    response.writeHead(404).end();
  });
  const folder = join(directory, REGISTRY);
  try {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await mkdir(folder, { recursive: true });
    const text = `server = "${url}"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`;
    // Marked like all of our files, so that what a kill leaves behind goes with the others.
    await writeDurably(join(folder, "hosts.toml"), withMark(text, "nothing"), 0o644);
    await askToPull(socket, IMAGE, AbortSignal.any([arrived.signal, AbortSignal.timeout(TIMEOUT_MS)])).catch(
      (error: unknown) => {
        if (!arrived.signal.aborted) throw error;
      },
    );
    if (arrived.signal.aborted) return { verified: true };
    return { verified: false, why: `containerd does not read ${directory}: set its config_path` };
  } catch (error) {
    return { verified: false, why: `containerd could not be asked for a probe pull: ${messageOf(error)}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
    server.closeAllConnections();
    server.close();
  }
}
