import type { KubeClient } from "@cache-registry/kube/client";
import { apiVersionOf, MUTATING_WEBHOOK_CONFIGURATIONS } from "@cache-registry/kube/resource";
import type { MutatingWebhookConfiguration } from "@cache-registry/kube/workloads";

const FIELD_MANAGER = "cache-registry-controllers/certificates";

export type BundleWrite = {
  readonly client: Pick<KubeClient, "apply">;
  readonly configuration: MutatingWebhookConfiguration;
  /** PEM. */
  readonly authorities: string;
  readonly signal: AbortSignal;
};

/**
 * Makes the API server trust these authorities when it calls the webhooks of a configuration. Server-side apply of this
 * one field: whoever writes the rest, such as `helm upgrade`, neither loses nor is asked for it.
 * @returns the configuration after the write; undefined when it was right already
 * @throws ApiError; 409 when another configuration has the name now
 */
export async function applyCaBundle(write: BundleWrite): Promise<MutatingWebhookConfiguration | undefined> {
  const { client, configuration, authorities, signal } = write;
  const caBundle = Buffer.from(authorities).toString("base64");
  const webhooks = configuration.webhooks ?? [];
  if (webhooks.every(({ clientConfig }) => clientConfig?.caBundle === caBundle)) return undefined;
  const { name, uid } = configuration.metadata;
  const body: MutatingWebhookConfiguration = {
    apiVersion: apiVersionOf(MUTATING_WEBHOOK_CONFIGURATIONS),
    kind: MUTATING_WEBHOOK_CONFIGURATIONS.kind,
    metadata: { name, uid },
    webhooks: webhooks.map((webhook) => ({ name: webhook.name, clientConfig: { caBundle } })),
  };
  return client.apply(MUTATING_WEBHOOK_CONFIGURATIONS, body, { fieldManager: FIELD_MANAGER, signal });
}
