import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRegistry } from "../../hack/cluster/registry.ts";
import { startUpstream, type Upstream } from "../../hack/cluster/upstream.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type Client, startClient } from "./client/client.ts";
import { type Contender, OURS } from "./measure.ts";
import { type Peer, startDistribution, startNginx, startOurs } from "./peers.ts";

/** Everything that a hot path is measured with; the same processes for the whole run. */
export type Scene = {
  readonly client: Client;
  readonly ours: Peer;
  readonly distribution: Peer;
  /** The same program as a proxy of the upstream. */
  readonly distributionProxy: Peer;
  /** Serves the files put with `publish`; undefined when it is not installed. */
  readonly nginx: Peer | undefined;
  /** What our registry and the proxy ask; throttled where a path says so. */
  readonly upstream: Upstream;
  /** Behind the upstream's throttle: for pushes. */
  readonly origin: RegistryApi;
  publish(name: string, bytes: Uint8Array): Promise<void>;
  dispose(): Promise<void>;
};

export async function openScene(): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-"));
  const closing: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  const dispose = async () => {
    for (const close of closing.reverse()) await close();
  };
  const opened = <Item extends { stop(): Promise<void> } | undefined>(item: Item): Item => {
    closing.push(() => item?.stop());
    return item;
  };
  try {
    const root = join(dir, "www");
    await mkdir(root);
    const registry = opened(await startRegistry({ dir: join(dir, "origin"), log: () => {} }));
    const upstream = await startUpstream({ target: registry.url, host: "127.0.0.1" });
    closing.push(() => upstream.close());
    const ours = opened(await startOurs({ dir: join(dir, "ours"), upstream: upstream.url }));
    const distribution = opened(await startDistribution({ dir: join(dir, "distribution") }));
    const proxyOptions = { dir: join(dir, "distribution-proxy"), upstream: upstream.url };
    const distributionProxy = opened(await startDistribution(proxyOptions));
    const nginx = opened(await startNginx({ dir: join(dir, "nginx"), root }));
    const client = startClient();
    closing.push(() => client.close());
    return {
      client,
      ours,
      distribution,
      distributionProxy,
      nginx,
      upstream,
      origin: createRegistryApi(registry.url),
      publish: (name, bytes) => writeFile(join(root, name), bytes),
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The contenders that hold the content themselves. `file` is its path at nginx, which is left out without one. */
export function holders(
  { ours, distribution, nginx }: Scene,
  { path, file, ask }: { path: string; file?: string; ask: (url: string) => Promise<number> },
): Contender[] {
  const contenders = [
    { peer: OURS, run: () => ask(ours.url + path) },
    { peer: "distribution", run: () => ask(distribution.url + path) },
  ];
  if (nginx && file !== undefined) contenders.push({ peer: "nginx", run: () => ask(`${nginx.url}/${file}`) });
  return contenders;
}
