import { isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { OwnerReference } from "@cache-registry/kube/object";
import { DEPLOYMENTS } from "@cache-registry/kube/resource";

/**
 * Our own Deployment as the owner of what we make in its namespace, so that it goes when the release goes. Undefined
 * without a Deployment. @throws ApiError, network errors
 */
export async function ownDeployment(
  client: Pick<KubeClient, "get">,
  namespace: string,
  name: string | undefined,
): Promise<OwnerReference[] | undefined> {
  if (name === undefined) return undefined;
  try {
    const { metadata } = await client.get(DEPLOYMENTS, { namespace, name });
    return [{ apiVersion: "apps/v1", kind: "Deployment", name, uid: metadata.uid ?? "" }];
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
