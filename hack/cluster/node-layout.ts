import { join } from "node:path";
import { CGROUP, NETWORK } from "./layout.ts";

/** What a node has for itself: its files, its addresses, its place in the machine. */
export interface NodeLayout {
  readonly name: string;
  /** The folder with its files. */
  readonly root: string;
  /** The node's own address: other nodes, pods and the machine reach it there. */
  readonly address: string;
  /** Carries the node's pods. */
  readonly bridge: string;
  /** The bridge's address. */
  readonly gateway: string;
  readonly podSubnet: string;
  readonly cgroup: string;
  /** The network in which the node's programs run; undefined: the machine's own. */
  readonly network?: NodeNetwork;
  readonly containerd: string;
  readonly containerdState: string;
  readonly containerdSocket: string;
  readonly certsDir: string;
  readonly cni: string;
  readonly kubelet: string;
}

/** A network namespace, tied to the machine by a pair of virtual interfaces. */
export interface NodeNetwork {
  readonly namespace: string;
  /** The machine's end of the pair. */
  readonly link: string;
  readonly linkAddress: string;
}

/** How the namespaces and links of nodes begin, and nothing else on the machine: what a crash left is found by it. */
export const NODE_NETWORK_PREFIX = "creg-node-";

/** @param number 1 is the machine itself, further ones have a network namespace each */
export function nodeLayoutOf(clusterRoot: string, number: number): NodeLayout {
  const name = `node-${number}`;
  const root = join(clusterRoot, name);
  const files = {
    containerd: join(root, "containerd"),
    containerdState: join(root, "run"),
    containerdSocket: join(root, "containerd.sock"),
    certsDir: join(root, "certs.d"),
    cni: join(root, "cni"),
    kubelet: join(root, "kubelet"),
  };
  if (number === 1) {
    const { address, bridge, podSubnet } = NETWORK;
    return { name, root, address, bridge, gateway: address, podSubnet, cgroup: CGROUP, ...files };
  }
  return {
    name,
    root,
    address: `10.88.${100 + number}.2`,
    bridge: `creg${number}`,
    gateway: `10.88.${number}.1`,
    podSubnet: `10.88.${number}.0/24`,
    cgroup: `${CGROUP}-${name}`,
    network: {
      namespace: `${NODE_NETWORK_PREFIX}${number}`,
      link: `${NODE_NETWORK_PREFIX}${number}`,
      linkAddress: `10.88.${100 + number}.1`,
    },
    ...files,
  };
}

/** A command line as it runs in the node's network. */
export function inNetworkOf({ network }: NodeLayout, program: string, args: readonly string[]): [string, string[]] {
  // Not `ip netns exec`, which also mounts a new /sys and so hides the cgroups.
  return network ? ["nsenter", [`--net=/run/netns/${network.namespace}`, program, ...args]] : [program, [...args]];
}
