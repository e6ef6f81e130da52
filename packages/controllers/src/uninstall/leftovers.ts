import { API_GROUP } from "@cache-registry/core/labels";
import { isConflict, isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { CUSTOM_RESOURCE_DEFINITIONS } from "@cache-registry/kube/custom-resource-definition";
import type { KubeObject } from "@cache-registry/kube/object";
import {
  CONFIG_MAPS,
  DAEMON_SETS,
  LEASES,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "@cache-registry/kube/resource";

/** A release of the chart, and the namespaces that its objects are in. */
export type ReleaseName = { readonly release: string; readonly namespaces: readonly string[] };

/** In the order in which they go: what others use goes last. */
const KEPT: readonly Resource<KubeObject>[] = [
  DAEMON_SETS as Resource<KubeObject>,
  SERVICES,
  CONFIG_MAPS as Resource<KubeObject>,
  SECRETS as Resource<KubeObject>,
  LEASES as Resource<KubeObject>,
  SERVICE_ACCOUNTS,
];

/** On webhook configurations in mode rewrite: where the images of pods are led to. */
export const ENDPOINT_ANNOTATION = `${API_GROUP}/endpoint`;

const INSTANCE_LABEL = "app.kubernetes.io/instance";
const DEFINITION = `cachedimages.${API_GROUP}`;

/** Finds every object of a release. */
export function selectorOf(release: string): string {
  return `app.kubernetes.io/name=cache-registry,${INSTANCE_LABEL}=${release}`;
}

/** Names of the webhook configurations of one release, or of all. */
export async function webhookConfigurations(client: KubeClient, release?: string): Promise<string[]> {
  const labelSelector = release === undefined ? "app.kubernetes.io/name=cache-registry" : selectorOf(release);
  const { items } = await client.list(MUTATING_WEBHOOK_CONFIGURATIONS, { labelSelector });
  return items.map(({ metadata }) => metadata.name);
}

/** Other releases that rewrite pods to the same endpoint, and whose proxies serve it. */
export async function othersAt(client: KubeClient, endpoint: string, release: string): Promise<string[]> {
  const { items } = await client.list(MUTATING_WEBHOOK_CONFIGURATIONS, {
    labelSelector: `app.kubernetes.io/name=cache-registry,${INSTANCE_LABEL}!=${release}`,
  });
  const there = items.filter(({ metadata }) => metadata.annotations?.[ENDPOINT_ANNOTATION] === endpoint);
  return there.map(({ metadata: { name, labels } }) => labels?.[INSTANCE_LABEL] ?? name);
}

/** No pod is rewritten any more as soon as this returns; pods whose creation is under way may still be. */
export async function deleteWebhooks(client: KubeClient, release: string): Promise<string[]> {
  const names = await webhookConfigurations(client, release);
  for (const name of names) await deleted(client.delete(MUTATING_WEBHOOK_CONFIGURATIONS, { name }));
  return names;
}

/** What `helm uninstall` leaves of a release, removed. @returns `<kind>/<name>` of each */
export async function deleteLeftovers(
  client: KubeClient,
  { release, namespaces, records }: ReleaseName & { readonly records: "keep" | "delete" },
): Promise<string[]> {
  const gone: string[] = [];
  for (const [resource, namespace] of KEPT.flatMap((one) => namespaces.map((each) => [one, each] as const))) {
    const { items } = await client.list(resource, { namespace, labelSelector: selectorOf(release) });
    for (const { metadata } of items) {
      const preconditions = { ...(metadata.uid ? { uid: metadata.uid } : {}) };
      const at = { namespace, name: metadata.name };
      if (await deleted(client.delete(resource, at, { preconditions }))) gone.push(`${resource.kind}/${metadata.name}`);
    }
  }
  if (records === "delete" && (await webhookConfigurations(client)).length === 0) {
    const definition = CUSTOM_RESOURCE_DEFINITIONS as Resource<KubeObject>;
    if (await deleted(client.delete(definition, { name: DEFINITION }))) gone.push(`${definition.kind}/${DEFINITION}`);
  }
  return gone;
}

/** False when it was gone, or another of the same name, already. */
async function deleted(call: Promise<void>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (isNotFound(error) || isConflict(error)) return false;
    throw error;
  }
}
