/**
 * Everything around the product that the story and the end-to-end tests need: a real cluster, a real registry that stands
 * in for docker.io behind a counting proxy, our container image on the node.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { startCertManager } from "../cluster/cert-manager.ts";
import { type Cluster, startCluster } from "../cluster/cluster.ts";
import { writeHostsToml } from "../cluster/hosts-toml.ts";
import { type Registry, startRegistry } from "../cluster/registry.ts";
import type { ClusterNode } from "../cluster/start-node.ts";
import { makeTestImage, pushTestImage } from "../cluster/test-image.ts";
import { startUpstream, type Upstream } from "../cluster/upstream.ts";
import type { BuiltImage } from "../image.ts";
import { cacheDirectory } from "../tools/cache-directory.ts";
import { ensureTools } from "../tools/ensure.ts";
import { builtImage } from "./built-image.ts";

export const IMAGE = { registry: "cache-registry.local", repository: "cache-registry", tag: "dev" } as const;

export interface StageOptions {
  readonly log: (line: string) => void;
  /** Without it, only an existing Secret can bring the webhook's certificate. */
  readonly certManager?: boolean;
  /** Nodes to start with; default 1. */
  readonly nodes?: number;
}

export interface UpstreamImage {
  /** Repository below docker.io, e.g. `library/hello`. */
  readonly repository: string;
  readonly tag: string;
  readonly layerBytes?: number;
  readonly multiArch?: boolean;
}

export interface Stage {
  readonly cluster: Cluster;
  /** In front of the registry that stands in for docker.io: counts, throttles, cuts, goes off. */
  readonly upstream: Upstream;
  /** As pods, nodes and this machine reach it. */
  readonly upstreamUrl: string;
  readonly image: BuiltImage;
  /** Adds a node that has our image and takes docker.io for the stand-in, as the first does. */
  addNode(): Promise<ClusterNode>;
  /** Makes a runnable image and puts it behind docker.io. @returns its digest */
  publish(image: UpstreamImage): Promise<string>;
  /** Removes a manifest, and so its tags, from docker.io. */
  unpublish(repository: string, digest: string): Promise<void>;
  close(): Promise<void>;
}

export async function openStage({ log, certManager = true, nodes = 1 }: StageOptions): Promise<Stage> {
  await ensureTools(["helm", "crane", "registry", "probe", ...(certManager ? ["cert-manager"] : [])], { log });
  const directory = join(cacheDirectory(), "stage");
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer().catch((error: unknown) => log(String(error)));
  };
  try {
    const building = builtImage(`${IMAGE.registry}/${IMAGE.repository}:${IMAGE.tag}`, log);
    // Awaited below; until then its failure is nobody's.
    building.catch(() => undefined);
    const cluster = await startCluster({ wait: true, log });
    closers.push(() => cluster.stop());
    const image = await building;
    // Only who has the cluster has the folder.
    closers.push(() => rm(directory, { recursive: true, force: true }));
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    if (certManager) await startCertManager(cluster, { log });
    const registry = await startRegistry({ dir: join(directory, "docker.io"), log });
    closers.push(() => registry.stop());
    const upstream = await startUpstream({ target: registry.url });
    closers.push(() => upstream.close());
    const upstreamUrl = `http://${cluster.bridgeAddress}:${upstream.port}`;
    const prepare = async (node: ClusterNode) => {
      const { certsDir } = node;
      await node.loadImage(image.archive);
      // What the node itself pulls from docker.io (opted-out pods) comes from the stand-in, too.
      await writeHostsToml({ certsDir, registry: "docker.io", endpoints: [upstreamUrl], server: upstreamUrl });
      return node;
    };
    const addNode = async () => prepare(await cluster.addNode());
    for (const node of cluster.nodes) await prepare(node);
    while (cluster.nodes.length < nodes) await addNode();
    return {
      cluster,
      upstream,
      upstreamUrl,
      image,
      addNode,
      publish: publisher({ directory, registry, log }),
      unpublish: async (repository, digest) => {
        const { status } = await fetch(`${registry.url}/v2/${repository}/manifests/${digest}`, { method: "DELETE" });
        if (status !== 202) throw new Error(`${repository}@${digest} could not be deleted: ${status}`);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function publisher({
  directory,
  registry,
  log,
}: {
  directory: string;
  registry: Registry;
  log: (line: string) => void;
}) {
  return async ({ repository, tag, ...content }: UpstreamImage): Promise<string> => {
    const name = `${repository}:${tag}`;
    const made = await makeTestImage({
      directory: join(directory, "made", name.replace(/[/:]/g, "_")),
      seed: name,
      ...content,
      log,
    });
    await pushTestImage(made, `${registry.address}/${name}`, { log });
    return made.digest;
  };
}
