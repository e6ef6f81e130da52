import type { KubeClient } from "@cache-registry/kube/client";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { readSecretKey } from "./secret-key.ts";

/** Whom to trust when the registry's management API is called, PEM. @throws while it is not there, or cannot be read */
export type RegistryAuthorities = () => Promise<string>;

export function authoritiesInFile(caFile: string): RegistryAuthorities {
  const file = createSecretFile(caFile);
  return () => file.read();
}

export type AuthoritiesSecretOptions = {
  readonly client: Pick<KubeClient, "get">;
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
  /** Milliseconds until the Secret is read again. A new authority is published minutes before it signs. */
  readonly maxAge?: number;
};

const MAX_AGE = 15_000;

/**
 * In a Secret that these controllers make themselves. Not mounted: a pod that makes it is running already, and its kubelet
 * would bring it the file a minute later.
 */
export function authoritiesInSecret(options: AuthoritiesSecretOptions): RegistryAuthorities {
  const { client, namespace, name, key, maxAge = MAX_AGE } = options;
  let held: string | undefined;
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<string> | undefined;

  async function refresh(): Promise<string> {
    try {
      held = await readSecretKey(client, { namespace, name, key });
      readAt = performance.now();
    } catch (error) {
      // Better what was right a moment ago than nothing.
      if (held === undefined) throw error;
    }
    return held;
  }

  return async () => {
    if (held !== undefined && performance.now() - readAt < maxAge) return held;
    reading ??= refresh().finally(() => {
      reading = undefined;
    });
    return reading;
  };
}
