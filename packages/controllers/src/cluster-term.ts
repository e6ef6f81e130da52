import type { KubeClient } from "@cache-registry/kube/client";
import { createController } from "@cache-registry/kube/controller";
import type { EventRecorder } from "@cache-registry/kube/events";
import type { ObjectName } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createClusterState } from "./cluster-state/cluster-state.ts";
import type { HealthRules } from "./cluster-state/health.ts";
import { createObserver } from "./cluster-state/observer.ts";
import { createStatePublisher } from "./cluster-state/publisher.ts";
import type { LoopRules } from "./loops/loop-detector.ts";
import { createLoopList } from "./loops/loop-list.ts";
import { connectLoopWatch } from "./loops/loop-watch.ts";
import { createProxyIndex } from "./node/proxy-index.ts";
import { createTaintReconciler } from "./node/taint-reconciler.ts";
import type { ManagementClient } from "./registry/management-client.ts";
import type { Watches } from "./watches.ts";

/** What is asked of the cluster, beside its images. */
export type ClusterRules = {
  readonly health: HealthRules;
  /** `leaveAloneFor`: milliseconds. */
  readonly loops: LoopRules & { readonly leaveAloneFor: number };
  /** Of the proxies. */
  readonly daemonSet?: ObjectName | undefined;
  /** The ConfigMap of the cluster state. */
  readonly configMap?: ObjectName | undefined;
  /** Our own Deployment, in the ConfigMap's namespace. */
  readonly deployment?: string | undefined;
  /** Key of the taint that is removed from nodes whose proxy is ready. */
  readonly nodeTaint?: string | undefined;
};

export type ClusterTermDeps = {
  readonly client: KubeClient;
  readonly registry: Pick<ManagementClient, "readiness">;
  readonly events: EventRecorder;
  readonly watches: Pick<Watches, "pods" | "nodes" | "owners">;
  readonly rules: ClusterRules;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds. */
  readonly timing: { readonly look: number; readonly verify: number };
};

/** What the leader does for the cluster as a whole: its state for the webhook, loops, taints of nodes. */
export function createClusterTerm(deps: ClusterTermDeps): { run(signal: AbortSignal): Promise<void> } {
  const { client, registry, events, watches, rules, logger, metrics, timing } = deps;
  const { daemonSet, configMap, deployment, nodeTaint } = rules;
  const { pods, nodes } = watches;
  const proxies = createProxyIndex();
  const loops = createLoopList();
  pods.onChange((change) => proxies.apply(change));
  connectLoopWatch({ watches, rules: rules.loops, list: loops, events, logger, metrics });

  const state = createClusterState({
    rules: rules.health,
    observer: createObserver({ client, registry, nodes, proxies, daemonSet }),
    loops,
    publisher: configMap && createStatePublisher({ client, ...namespaced(configMap), deployment: deployment, logger }),
    events,
    logger,
    metrics,
    timing,
  });

  const taints = nodeTaint === undefined ? undefined : taintController(nodeTaint);
  function taintController(taint: string) {
    const controller = createController({
      name: "node-taint",
      reconcile: createTaintReconciler({ client, nodes, proxies, taint, events, logger }),
      concurrency: 2,
      informers: [pods, nodes],
      logger,
      metrics,
    });
    proxies.onReady((node) => controller.enqueue(node));
    nodes.onChange(({ type, object }) => {
      if (type !== "deleted" && object.tainted) controller.enqueue(object.name);
    });
    return controller;
  }

  return {
    async run(signal) {
      const synced = Promise.all([pods, nodes, ...watches.owners].map((informer) => informer.synced(signal)));
      const stated = synced.then(
        () => state.run(signal),
        () => undefined,
      );
      await Promise.all([stated, taints?.run(signal)]);
    },
  };
}

function namespaced({ namespace = "", name }: ObjectName): { namespace: string; name: string } {
  return { namespace, name };
}
