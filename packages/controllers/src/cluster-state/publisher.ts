import {
  CLUSTER_STATE_KEY,
  type ClusterState,
  parseClusterState,
  printClusterState,
} from "@cache-registry/core/cluster-state";
import { isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { apiVersionOf, CONFIG_MAPS } from "@cache-registry/kube/resource";
import type { ConfigMap } from "@cache-registry/kube/workloads";
import type { Logger } from "@cache-registry/runtime/logger";
import { ownDeployment } from "../own-deployment.ts";
import { touchWebhookPods } from "./webhook-pods.ts";

/** The ConfigMap that the webhook's pods mount (ADR 0022). */
export interface StatePublisher {
  /** What is published; undefined when there is nothing, or nothing that can be read. @throws when the API server fails */
  read(signal: AbortSignal): Promise<ClusterState | undefined>;
  /** @throws when the API server fails */
  write(state: ClusterState, signal: AbortSignal): Promise<void>;
  /** What Events about the state are written on. */
  readonly object: ConfigMap;
}

export type StatePublisherOptions = {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Our own Deployment: the ConfigMap goes with it. */
  readonly deployment: string | undefined;
  readonly logger: Logger;
};

const FIELD_MANAGER = "cache-registry-controllers";

export function createStatePublisher(options: StatePublisherOptions): StatePublisher {
  const { client, namespace, name, deployment, logger } = options;
  const at = { namespace, name };
  let object: ConfigMap = { metadata: at };

  return {
    get object() {
      return object;
    },
    async read(signal) {
      try {
        object = await client.get(CONFIG_MAPS, at, { signal });
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
      const parsed = parseClusterState(object.data?.[CLUSTER_STATE_KEY] ?? "");
      if ("state" in parsed) return parsed.state;
      logger.warn({ ...at, problem: parsed.problem }, "the published cluster state cannot be read and is written anew");
      return undefined;
    },
    async write(state, signal) {
      const metadata = { ...at, ownerReferences: await ownDeployment(client, namespace, deployment) };
      const data = { [CLUSTER_STATE_KEY]: printClusterState(state) };
      const body = { apiVersion: apiVersionOf(CONFIG_MAPS), kind: CONFIG_MAPS.kind, metadata, data };
      object = await client.apply(CONFIG_MAPS, body, { fieldManager: FIELD_MANAGER, signal });
      await touchWebhookPods({ client, namespace, logger }, state.writtenAt, signal);
    },
  };
}
