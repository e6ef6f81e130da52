import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createCgroup } from "./cgroups.ts";
import { ctr, removeImage, requireTool, startContainerd } from "./containerd.ts";
import type { ClusterContext, NodeContext } from "./context.ts";
import { nodeReady, startKubelet, startKubeProxy } from "./node.ts";
import { inNetworkOf, nodeLayoutOf } from "./node-layout.ts";
import { createNodeNetwork } from "./node-network.ts";
import { makePauseImage } from "./pause-image.ts";

const run = promisify(execFile);

export interface ClusterNode {
  readonly name: string;
  readonly address: string;
  readonly containerdSocket: string;
  /** The node's certs.d: `<registry>/hosts.toml` is read at every pull. */
  readonly certsDir: string;
  /** Imports an OCI layout archive; its `io.containerd.image.name` annotation is the image's name. */
  readonly loadImage: (archive: string) => Promise<void>;
  /**
   * Removes an image, all its names and content that no other image uses from the node.
   * @param reference as containerd lists it: `docker.io/library/x:1`; one that is not there is an error
   */
  readonly removeImage: (reference: string) => Promise<void>;
  /** Runs a program of this machine in the node's network, where `localhost` is the node. @returns standard output */
  readonly run: (program: string, args: readonly string[]) => Promise<string>;
}

/** The context of the node with this number; all but the first have a network of their own. */
export function nodeContextOf(context: ClusterContext, number: number): NodeContext {
  const node = nodeLayoutOf(context.layout.root, number);
  if (!node.network) return { ...context, node };
  return {
    ...context,
    node,
    start(tool, args, environment) {
      const [program, wrapped] = inNetworkOf(node, requireTool(context.tools, tool), args);
      return context.startProcess({ name: `${node.name}-${tool}`, program, args: wrapped, environment });
    },
  };
}

/** Everything of a node that needs no API server. */
export async function startNodeRuntime(context: NodeContext): Promise<void> {
  const { node, tools } = context;
  await mkdir(node.root, { recursive: true });
  await createCgroup(node.cgroup);
  await createNodeNetwork(node);
  const [archive] = await Promise.all([
    makePauseImage(requireTool(tools, "pause"), join(node.root, "pause")),
    startContainerd(context),
  ]);
  await ctr(context, ["images", "import", archive]);
}

/** Joins the node to the cluster, and answers when it is Ready. */
export async function joinCluster(context: NodeContext): Promise<void> {
  await nodeReady(context, [await startKubelet(context), await startKubeProxy(context)]);
}

export function clusterNodeOf(context: NodeContext): ClusterNode {
  const { node } = context;
  return {
    name: node.name,
    address: node.address,
    containerdSocket: node.containerdSocket,
    certsDir: node.certsDir,
    async loadImage(archive) {
      await ctr(context, ["images", "import", archive]);
    },
    removeImage: (reference) => removeImage(context, reference),
    run: async (program, args) => (await run(...inNetworkOf(node, program, args))).stdout,
  };
}
