import { createAzureTokens } from "@cache-registry/runtime/cloud-identity/azure";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { AzureCredentials } from "./authorization.ts";
import type { AzureConfig } from "./config.ts";

/** From files, read again when they change, or else the identity of the pod or the machine. */
export function createCredentials(
  { accountKeyFile, sasTokenFile }: Pick<AzureConfig, "accountKeyFile" | "sasTokenFile">,
  env: Readonly<Record<string, string | undefined>>,
): AzureCredentials {
  if (accountKeyFile !== undefined) {
    const file = createSecretFile(accountKeyFile);
    return { kind: "key", key: () => file.read() };
  }
  if (sasTokenFile !== undefined) {
    const file = createSecretFile(sasTokenFile);
    return { kind: "sas", token: () => file.read() };
  }
  return { kind: "identity", tokens: createAzureTokens({ resource: "https://storage.azure.com", env }) };
}
