import type { Change } from "@cache-registry/kube/object-store";
import type { Proxies } from "../cluster-state/health.ts";
import type { NodeRecord } from "./node-record.ts";

/** A pod of the proxies' DaemonSet. */
export type ProxyPod = { readonly node: string; readonly ready: boolean };

/** On which nodes proxies run. */
export interface ProxyIndex {
  apply(change: Change<{ readonly proxy?: ProxyPod | undefined }>): void;
  readyOn(node: string): boolean;
  /** `desired`: what the DaemonSet's own status says, nodes that are not ready included. */
  assess(nodes: Iterable<NodeRecord>, desired: number): Proxies;
  /** A proxy became ready there, or the first one appeared. */
  onReady(listener: (node: string) => void): void;
}

export function createProxyIndex(): ProxyIndex {
  const pods = new Map<string, ProxyPod>();
  const listeners: ((node: string) => void)[] = [];

  /** During an update a node has two for a moment: one that is ready is enough. */
  function byNode(): Map<string, boolean> {
    const nodes = new Map<string, boolean>();
    for (const { node, ready } of pods.values()) nodes.set(node, ready || nodes.get(node) === true);
    return nodes;
  }

  return {
    apply({ type, key, object: { proxy } }) {
      if (type === "deleted" || proxy === undefined) return void pods.delete(key);
      const before = pods.get(key);
      pods.set(key, proxy);
      if (proxy.ready && !before?.ready) for (const listener of listeners) listener(proxy.node);
    },
    readyOn: (node) => [...pods.values()].some((pod) => pod.node === node && pod.ready),
    assess(nodes, desired) {
      const proxies = byNode();
      // The DaemonSet's pods tell which nodes it targets: selectors, affinity and tolerations need not be read again.
      const targeted = [...nodes].filter(({ name, ready }) => ready && proxies.has(name)).map(({ name }) => name);
      const missing = Math.max(0, desired - proxies.size);
      const unready = targeted.filter((name) => proxies.get(name) !== true).toSorted();
      return { targeted: targeted.length + missing, unready, missing };
    },
    onReady: (listener) => void listeners.push(listener),
  };
}
