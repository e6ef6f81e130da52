import { join } from "node:path";
import { cacheDirectory } from "../tools/cache-directory.ts";

/** What exists once per machine: addresses, names and ports of the one cluster that can run on it. */
export const NETWORK = {
  name: "cache-registry",
  bridge: "creg0",
  /** The machine's address, on the bridge of the first node: reachable from all pods and nodes. */
  address: "10.88.0.1",
  podSubnet: "10.88.0.0/24",
  serviceSubnet: "10.96.0.0/16",
  /** The ClusterIP of Service `kubernetes`. */
  apiServerAddress: "10.96.0.1",
  dnsAddress: "10.96.0.10",
  domain: "cluster.local",
} as const;

/** Each node's begins so. */
export const CGROUP = "cache-registry";
export const API_SERVER = "https://127.0.0.1:6443";
/** As nodes and pods reach it. */
export const API_SERVER_ON_BRIDGE = `https://${NETWORK.address}:6443`;
export const ETCD = { client: "http://127.0.0.1:2379", peer: "http://127.0.0.1:2380" };
export const HEALTH_PORTS = { kubelet: 10248, proxy: 10256, proxyMetrics: 10249, dns: 18181, certManager: 18182 };
export const PAUSE_IMAGE = "cache-registry.test/pause:1";

/** The machine-wide folder that says which cluster runs, so that any later run can find and end it. */
export const RUN_DIRECTORY = "/run/cache-registry-cluster";

export interface Layout {
  readonly root: string;
  readonly pki: string;
  readonly logs: string;
  readonly etcd: string;
  readonly kubeconfig: string;
  readonly dnsHosts: string;
}

/** Where a cluster keeps its files; `root` defaults to `clusters/default` in the cache folder. */
export function layoutOf(root: string = join(cacheDirectory(), "clusters", "default")): Layout {
  return {
    root,
    pki: join(root, "pki"),
    logs: join(root, "logs"),
    etcd: join(root, "etcd"),
    kubeconfig: join(root, "kubeconfig"),
    dnsHosts: join(root, "hosts"),
  };
}
