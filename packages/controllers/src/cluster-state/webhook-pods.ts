import { messageOf } from "@cache-registry/core/errors";
import { API_GROUP } from "@cache-registry/core/labels";
import { ApiError, isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { PODS } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";

/** On the webhook's pods: when the state that they should have by now was written. */
const ANNOTATION = `${API_GROUP}/cluster-state-written`;
const SELECTOR = "app.kubernetes.io/name=cache-registry,app.kubernetes.io/component=webhook";
/** More replicas than that wait for their kubelet. */
const MOST_PODS = 100;

export type WebhookPodsDeps = {
  readonly client: Pick<KubeClient, "list" | "patch">;
  readonly namespace: string;
  readonly logger: Logger;
};

/**
 * Lets the kubelets bring a changed ConfigMap to the webhook's pods at once: they look at a pod anew when it changes, and
 * only every minute or so when it does not
 * (https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically).
 * A failure costs no more than that minute.
 */
export async function touchWebhookPods(deps: WebhookPodsDeps, writtenAt: Date, signal: AbortSignal): Promise<void> {
  const { client, namespace, logger } = deps;
  const path = `/metadata/annotations/${ANNOTATION.replace("/", "~1")}`;
  // The chart's pods have annotations, so that the map is there.
  const operations = [{ op: "add", path, value: writtenAt.toISOString() }] as const;
  try {
    const { items } = await client.list(PODS, { namespace, labelSelector: SELECTOR, limit: MOST_PODS, signal });
    for (const { metadata } of items) {
      await client
        .patch(PODS, { namespace, name: metadata.name ?? "" }, { operations, signal })
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
    }
  } catch (error) {
    // Only where pods are rewritten may the controllers change pods; nowhere else does the webhook go by the state.
    if (signal.aborted || (error instanceof ApiError && error.status === 403)) return;
    logger.warn({ problem: messageOf(error) }, "the webhook sees the cluster state a minute later");
  }
}
