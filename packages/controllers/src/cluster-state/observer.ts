import { messageOf } from "@cache-registry/core/errors";
import { isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { Informer } from "@cache-registry/kube/informer";
import type { ObjectName } from "@cache-registry/kube/resource";
import { DAEMON_SETS } from "@cache-registry/kube/resource";
import type { NodeRecord } from "../node/node-record.ts";
import type { ProxyIndex } from "../node/proxy-index.ts";
import type { ManagementClient } from "../registry/management-client.ts";
import type { Observation, Proxies } from "./health.ts";

/** Looks at what the health of the cache depends on. */
export interface Observer {
  /** Never rejects, but with the signal's reason. */
  look(signal: AbortSignal): Promise<Observation>;
}

export type ObserverOptions = {
  readonly client: KubeClient;
  readonly registry: Pick<ManagementClient, "readiness">;
  readonly nodes: Pick<Informer<NodeRecord>, "values">;
  readonly proxies: Pick<ProxyIndex, "assess">;
  /** Where the proxies come from. Undefined: there are none, or none to look at. */
  readonly daemonSet: ObjectName | undefined;
};

export function createObserver({ client, registry, nodes, proxies, daemonSet }: ObserverOptions): Observer {
  /** As last heard: while the API server does not answer, nothing is known to have changed. */
  let desired: number | "gone" = 0;

  async function lookAtProxies(at: ObjectName, signal: AbortSignal): Promise<Proxies> {
    try {
      desired = (await client.get(DAEMON_SETS, at, { signal })).status?.desiredNumberScheduled ?? 0;
    } catch (error) {
      if (isNotFound(error)) desired = "gone";
    }
    if (desired !== "gone") return proxies.assess(nodes.values(), desired);
    const ready = [...nodes.values()].filter((node) => node.ready).map(({ name }) => name);
    return { targeted: ready.length, unready: ready.toSorted(), missing: 0 };
  }

  return {
    async look(signal) {
      const [why, sight] = await Promise.all([
        registry.readiness(signal).catch(messageOf),
        daemonSet && lookAtProxies(daemonSet, signal),
      ]);
      signal.throwIfAborted();
      return { registry: why, proxies: sight };
    },
  };
}
