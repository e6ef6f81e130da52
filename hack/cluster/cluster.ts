import { ensureDebianPackages } from "../tools/debian.ts";
import { ensureTools } from "../tools/ensure.ts";
import { lock, lockHolder, tryLock } from "../tools/lock.ts";
import { type Component, type ComponentOptions, waitFor } from "./components.ts";
import type { ClusterContext, Kubectl } from "./context.ts";
import { startApiServer, startControllers } from "./control-plane.ts";
import { createContext } from "./create-context.ts";
import { dnsReady, startDns, writeHosts } from "./dns.ts";
import { layoutOf } from "./layout.ts";
import { createBridge } from "./machine-network.ts";
import { isAlive, type ProcessIdentity } from "./process-table.ts";
import { LOCK_FILE, type RunState, readRunState, writeRunState } from "./run-state.ts";
import { type ClusterNode, clusterNodeOf, joinCluster, nodeContextOf, startNodeRuntime } from "./start-node.ts";
import { claimDirectory, sweep } from "./sweep.ts";

const TOOLS = [
  ...["kube-apiserver", "kubectl", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd"],
  ...["containerd", "containerd-shim-runc-v2", "ctr", "runc", "bridge", "loopback", "portmap", "host-local"],
  ...["coredns", "pause"],
];
const PACKAGES = ["openssl", "iproute2", "iptables", "nftables", "conntrack", "mount", "tar", "util-linux"];

export interface ClusterOptions {
  /** Where its files go; default: in the cache folder. */
  readonly dir?: string;
  /** Leave it running when this process ends; `stopCluster` ends it. */
  readonly keep?: boolean;
  /** How many nodes to start with; default 1. Each needs about 200 MB. */
  readonly nodes?: number;
  /** While another process runs one, wait for its end instead of giving up. */
  readonly wait?: boolean;
  readonly log: (line: string) => void;
}

export interface Cluster {
  /** The admin's, a path. */
  readonly kubeconfig: string;
  readonly nodeName: string;
  /** The first node's address, and where pods and all nodes reach programs of this machine. */
  readonly bridgeAddress: string;
  readonly containerdSocket: string;
  /** The node's certs.d: `<registry>/hosts.toml` is read at every pull. */
  readonly certsDir: string;
  /** One log per component. */
  readonly logs: string;
  /** Tool name → path. */
  readonly tools: Readonly<Record<string, string>>;
  /** @returns standard output; @throws Error with standard error */
  readonly kubectl: Kubectl;
  /** The first is the one that this interface's own node members speak of. */
  readonly nodes: readonly ClusterNode[];
  /** Starts a further node, with a network of its own on this machine, and answers when it is Ready. */
  addNode(): Promise<ClusterNode>;
  readonly loadImage: ClusterNode["loadImage"];
  readonly removeImage: ClusterNode["removeImage"];
  /** Replaces the names outside the cluster that pods can resolve: name → IPv4 address. */
  setHosts(names: Readonly<Record<string, string>>): Promise<void>;
  /** Starts another program as part of the cluster: logged under its name, and ended with the cluster. */
  startProcess(process: Pick<ComponentOptions, "name" | "program" | "args">): Component;
  /** Ends a component and starts it again as it was; answers when the API server answers. */
  restart(name: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a Kubernetes cluster on this machine (root only), first ending what an earlier run left.
 * @throws Error when another process runs one, or with the end of the log of the component that failed
 */
export async function startCluster({
  dir,
  keep = false,
  nodes = 1,
  wait = false,
  log,
}: ClusterOptions): Promise<Cluster> {
  if (process.getuid?.() !== 0) throw new Error("the test cluster needs root: it makes network interfaces and mounts");
  await ensureDebianPackages(PACKAGES, { log });
  const tools = await ensureTools(TOOLS, { log });
  const waiting = (holder: string) => log(`waiting for process ${holder}, which runs a test cluster on this machine`);
  const held = wait ? await lock(LOCK_FILE, waiting) : await tryLock(LOCK_FILE);
  if (!held) throw new Error(`process ${lockHolder(LOCK_FILE)} is running a test cluster on this machine`);
  const layout = layoutOf(dir);
  const state: RunState & { processes: Record<string, ProcessIdentity> } = { root: layout.root, keep, processes: {} };
  const stop = async () => {
    await sweep(state);
    await held.release();
  };
  try {
    await sweepEarlier(log);
    await claimDirectory(layout.root);
  } catch (error) {
    await held.release();
    throw error;
  }
  try {
    await sweep(state);
    writeRunState(state);
    const context = await createContext({ layout, tools, state, log });
    await startComponents(context);
    const cluster = clusterOf(context, stop);
    while (cluster.nodes.length < nodes) log(`${(await cluster.addNode()).name} Ready`);
    if (keep) await held.release();
    return cluster;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ends a cluster that was started to stay, or what is left of one. @returns whether there was any */
export async function stopCluster(): Promise<boolean> {
  const held = await tryLock(LOCK_FILE);
  if (!held) throw new Error(`process ${lockHolder(LOCK_FILE)} is running a test cluster; end that process`);
  try {
    const state = readRunState();
    if (state) await sweep(state);
    return state !== undefined;
  } finally {
    await held.release();
  }
}

async function sweepEarlier(log: (line: string) => void): Promise<void> {
  const earlier = readRunState();
  if (!earlier) return;
  if (earlier.keep && Object.values(earlier.processes).some(isAlive))
    throw new Error("a test cluster is up: node hack/cluster/main.ts down");
  log("removing what an earlier cluster left");
  await sweep(earlier);
}

async function startComponents(context: ClusterContext): Promise<void> {
  const { layout, log } = context;
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  const node = nodeContextOf(context, 1);
  await createBridge();
  await Promise.all([startApiServer(context), startNodeRuntime(node)]);
  log(`API server ready after ${seconds()}`);
  await startControllers(context);
  const coredns = await startDns(context);
  await Promise.all([joinCluster(node), dnsReady(coredns), defaultServiceAccount(context)]);
  log(`node Ready after ${seconds()} (kubeconfig: ${layout.kubeconfig})`);
}

/** Pods are refused in a namespace whose service account is not there yet. */
async function defaultServiceAccount({ kubectl }: ClusterContext): Promise<void> {
  const present = () => kubectl(["get", "serviceaccount", "default", "-o", "name"]);
  await waitFor(present, { what: "the default service account", components: [] });
}

function clusterOf(context: ClusterContext, stop: () => Promise<void>): Cluster {
  const { layout, tools, kubectl } = context;
  const first = clusterNodeOf(nodeContextOf(context, 1));
  const nodes = [first];
  return {
    kubeconfig: layout.kubeconfig,
    nodeName: first.name,
    bridgeAddress: first.address,
    containerdSocket: first.containerdSocket,
    certsDir: first.certsDir,
    logs: layout.logs,
    tools,
    kubectl,
    nodes,
    async addNode() {
      const node = nodeContextOf(context, nodes.length + 1);
      nodes.push(clusterNodeOf(node));
      await startNodeRuntime(node);
      await joinCluster(node);
      return clusterNodeOf(node);
    },
    loadImage: first.loadImage,
    removeImage: first.removeImage,
    setHosts: (names) => writeHosts(layout, names),
    startProcess: context.startProcess,
    async restart(name) {
      const component = await context.restart(name);
      const answers = () => kubectl(["get", "--raw", "/readyz"], { timeoutMs: 5_000 });
      await waitFor(answers, { what: `the API server after the restart of ${name}`, components: [component] });
    },
    stop,
  };
}
