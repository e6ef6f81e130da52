import { isConflict, isInvalid, isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { EventRecorder } from "@cache-registry/kube/events";
import type { Informer } from "@cache-registry/kube/informer";
import { DONE, type Reconcile } from "@cache-registry/kube/reconcile";
import { NODES } from "@cache-registry/kube/resource";
import type { Node } from "@cache-registry/kube/workloads";
import type { Logger } from "@cache-registry/runtime/logger";
import type { NodeRecord } from "./node-record.ts";
import type { ProxyIndex } from "./proxy-index.ts";

export type TaintReconcilerDeps = {
  readonly client: KubeClient;
  readonly nodes: Pick<Informer<NodeRecord, Node>, "get" | "observe">;
  readonly proxies: Pick<ProxyIndex, "readyOn">;
  /** Key of the taint. */
  readonly taint: string;
  readonly events: EventRecorder;
  readonly logger: Logger;
};

/**
 * Node that registered with the taint → without it, as soon as its proxy is ready. The taint is never put on again: a proxy
 * that fails later is a matter of the cluster's health, and pods that run must not be moved for it.
 */
export function createTaintReconciler(deps: TaintReconcilerDeps): Reconcile {
  const { client, nodes, proxies, taint, events, logger } = deps;
  return async (name, signal) => {
    if (!nodes.get(name)?.tainted || !proxies.readyOn(name)) return DONE;
    try {
      const node = await client.get(NODES, { name }, { signal });
      const taints = node.spec?.taints ?? [];
      const rest = taints.filter(({ key }) => key !== taint);
      if (rest.length === taints.length) return DONE;
      // The whole list is written, so it must still be what was read: others add and remove taints as well.
      const operations = [
        { op: "test", path: "/spec/taints", value: taints },
        { op: "replace", path: "/spec/taints", value: rest },
      ] as const;
      nodes.observe(await client.patch(NODES, { name }, { operations, signal }));
      logger.info({ node: name, taint }, "proxy is ready, taint removed");
      const note = `The node's proxy is ready: taint ${taint} removed.`;
      await events.record(NODES, node, { type: "Normal", reason: "ProxyReady", action: "RemoveTaint", note });
      return DONE;
    } catch (error) {
      if (isNotFound(error)) return DONE;
      // Somebody else changed the taints meanwhile, which is an event of its own, but perhaps one that we saw before.
      if (isConflict(error) || isInvalid(error)) return { requeueAfter: 500 };
      throw error;
    }
  };
}
