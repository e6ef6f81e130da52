import type { ImageReference } from "@cache-registry/core/image-reference";
import type { Secret } from "@cache-registry/kube/workloads";
import { parseDockerConfig, usersInDockerConfig } from "@cache-registry/registry-client/credentials/docker-config";

export type UserAndPassword = { readonly username: string; readonly password: string };

/** What a pull secret gives for an image. `problem` is for people and quotes nothing of the Secret. */
export type Finding =
  | { readonly credentials: readonly UserAndPassword[] }
  | { readonly problem: "NoMatch" | "Unreadable"; readonly message: string };

/** https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets */
const KEYS: Readonly<Record<string, string>> = {
  "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
  "kubernetes.io/dockercfg": ".dockercfg",
};

/** The users that the kubelet would try for the image: entries whose host and path begin as the image does. */
export function credentialsIn(secret: Secret, { registry, repository }: ImageReference): Finding {
  const key = KEYS[secret.type ?? ""];
  if (key === undefined) {
    return {
      problem: "Unreadable",
      message: "its type is not kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
    };
  }
  const encoded = secret.data?.[key];
  if (encoded === undefined) return { problem: "Unreadable", message: `it has no key ${key}` };
  try {
    const text = Buffer.from(encoded, "base64").toString("utf8");
    // The older type is the list of hosts alone.
    const config = parseDockerConfig(key === ".dockercfg" ? `{"auths":${text}}` : text);
    const users = usersInDockerConfig(config, { host: registry, repository });
    const credentials = users.map(({ username, password }) => ({ username, password }));
    if (credentials.length > 0) return { credentials };
    return { problem: "NoMatch", message: `it names no user for ${registry}/${repository}` };
  } catch {
    // What a parser says may quote what it read.
    return { problem: "Unreadable", message: `its key ${key} is no docker configuration` };
  }
}
