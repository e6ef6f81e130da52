import type { KubeClient } from "@cache-registry/kube/client";
import { SECRETS } from "@cache-registry/kube/resource";

export type SecretKey = { readonly namespace: string; readonly name: string; readonly key: string };

/** One value of a Secret, as text. @throws ApiError, or Error when the Secret has no such key */
export async function readSecretKey(client: Pick<KubeClient, "get">, secret: SecretKey): Promise<string> {
  const { namespace, name, key } = secret;
  const { data } = await client.get(SECRETS, { namespace, name });
  const value = data?.[key];
  if (value === undefined) throw new Error(`the Secret ${namespace}/${name} has no key ${key}`);
  return Buffer.from(value, "base64").toString("utf8");
}
