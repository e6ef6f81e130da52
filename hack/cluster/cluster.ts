import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ensureDebianPackages } from "../tools/debian.ts";
import { ensureTools } from "../tools/ensure.ts";
import { lock, lockHolder, tryLock } from "../tools/lock.ts";
import { createCgroup } from "./cgroups.ts";
import { type Component, type ComponentOptions, startComponent, waitFor } from "./components.ts";
import { ctr, removeImage, requireTool, startContainerd } from "./containerd.ts";
import type { ClusterContext, Kubectl } from "./context.ts";
import { startApiServer, startControllers } from "./control-plane.ts";
import { dnsReady, startDns, writeHosts } from "./dns.ts";
import { type Layout, layoutOf, NETWORK, NODE_NAME } from "./layout.ts";
import { createBridge } from "./machine-network.ts";
import { nodeReady, startKubelet, startKubeProxy } from "./node.ts";
import { makePauseImage } from "./pause-image.ts";
import { createPki } from "./pki.ts";
import { isAlive, type ProcessIdentity } from "./process-table.ts";
import { LOCK_FILE, type RunState, readRunState, writeRunState } from "./run-state.ts";
import { claimDirectory, sweep } from "./sweep.ts";

const TOOLS = [
  ...["kube-apiserver", "kubectl", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd"],
  ...["containerd", "containerd-shim-runc-v2", "ctr", "runc", "bridge", "loopback", "portmap", "host-local"],
  ...["coredns", "pause"],
];
const PACKAGES = ["openssl", "iproute2", "iptables", "nftables", "conntrack", "mount", "tar"];

export interface ClusterOptions {
  /** Where its files go; default: in the cache folder. */
  readonly dir?: string;
  /** Leave it running when this process ends; `stopCluster` ends it. */
  readonly keep?: boolean;
  /** While another process runs one, wait for its end instead of giving up. */
  readonly wait?: boolean;
  readonly log: (line: string) => void;
}

export interface Cluster {
  /** The admin's, a path. */
  readonly kubeconfig: string;
  readonly nodeName: string;
  /** The node's address, and where pods reach programs of this machine. */
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
  /** Imports an OCI layout archive into the node; its `io.containerd.image.name` annotation is the image's name. */
  loadImage(archive: string): Promise<void>;
  /**
   * Removes an image, all its names and content that no other image uses from the node.
   * @param reference as containerd lists it: `docker.io/library/x:1`; one that is not there is an error
   */
  removeImage(reference: string): Promise<void>;
  /** Replaces the names outside the cluster that pods can resolve: name → IPv4 address. */
  setHosts(names: Readonly<Record<string, string>>): Promise<void>;
  /** Starts another program as part of the cluster: logged under its name, and ended with the cluster. */
  startProcess(process: Pick<ComponentOptions, "name" | "program" | "args">): Component;
  stop(): Promise<void>;
}

/**
 * Starts a Kubernetes cluster of one node on this machine (root only), first ending what an earlier run left.
 * @throws Error when another process runs one, or with the end of the log of the component that failed
 */
export async function startCluster({ dir, keep = false, wait = false, log }: ClusterOptions): Promise<Cluster> {
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
    if (keep) await held.release();
    return clusterOf(context, stop);
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

interface ContextParts extends Pick<ClusterContext, "layout" | "tools" | "log"> {
  readonly state: RunState & { readonly processes: Record<string, ProcessIdentity> };
}

async function createContext({ layout, tools, state, log }: ContextParts): Promise<ClusterContext> {
  await rm(layout.logs, { recursive: true, force: true });
  const startProcess: ClusterContext["startProcess"] = (options) =>
    startComponent({
      ...options,
      logs: layout.logs,
      onStart(identity) {
        state.processes[options.name] = identity;
        writeRunState(state);
      },
    });
  return {
    layout,
    tools,
    log,
    pki: await createPki(layout.pki),
    kubectl: kubectlOf(requireTool(tools, "kubectl"), layout),
    start: (tool, args, environment) =>
      startProcess({ name: tool, program: requireTool(tools, tool), args, environment }),
    startProcess,
  };
}

async function startComponents(context: ClusterContext): Promise<void> {
  const { layout, log } = context;
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  await createCgroup();
  await createBridge();
  await Promise.all([startApiServer(context), startNodeRuntime(context)]);
  log(`API server ready after ${seconds()}`);
  await startControllers(context);
  const nodeComponents = [await startKubelet(context), await startKubeProxy(context)];
  const coredns = await startDns(context);
  await Promise.all([nodeReady(context, nodeComponents), dnsReady(coredns), defaultServiceAccount(context)]);
  log(`node Ready after ${seconds()} (kubeconfig: ${layout.kubeconfig})`);
}

async function startNodeRuntime(context: ClusterContext): Promise<void> {
  const { layout, tools } = context;
  const [archive] = await Promise.all([
    makePauseImage(requireTool(tools, "pause"), join(layout.root, "pause")),
    startContainerd(context),
  ]);
  await ctr(context, ["images", "import", archive]);
}

/** Pods are refused in a namespace whose service account is not there yet. */
async function defaultServiceAccount({ kubectl }: ClusterContext): Promise<void> {
  const present = () => kubectl(["get", "serviceaccount", "default", "-o", "name"]);
  await waitFor(present, { what: "the default service account", components: [] });
}

function kubectlOf(program: string, { kubeconfig }: Layout): Kubectl {
  return (args, { input, timeoutMs = 120_000 } = {}) =>
    new Promise((resolve, reject) => {
      const options = { timeout: timeoutMs, maxBuffer: 256 << 20 };
      const child = execFile(program, [`--kubeconfig=${kubeconfig}`, ...args], options, (error, stdout, stderr) => {
        if (error) reject(new Error(`kubectl ${args.join(" ")}: ${stderr.trim() || error.message}`));
        else resolve(stdout);
      });
      child.stdin?.end(input);
    });
}

function clusterOf(context: ClusterContext, stop: () => Promise<void>): Cluster {
  const { layout, tools, kubectl } = context;
  return {
    kubeconfig: layout.kubeconfig,
    nodeName: NODE_NAME,
    bridgeAddress: NETWORK.address,
    containerdSocket: layout.containerdSocket,
    certsDir: layout.certsDir,
    logs: layout.logs,
    tools,
    kubectl,
    async loadImage(archive) {
      await ctr(context, ["images", "import", archive]);
    },
    removeImage: (reference) => removeImage(context, reference),
    setHosts: (names) => writeHosts(layout, names),
    startProcess: context.startProcess,
    stop,
  };
}
