import {
  createGoogleMetadataTokens,
  createServiceAccountTokens,
  readServiceAccount,
} from "@cache-registry/runtime/cloud-identity/google";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { GcsOptions } from "../gcs.ts";
import type { GcsConfig } from "./config.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";

/** From a key file, which is read again when it changes, or else the identity of the pod or the machine. */
export function createCredentials(
  { serviceAccountFile, anonymous }: Pick<GcsConfig, "serviceAccountFile" | "anonymous">,
  env: Readonly<Record<string, string | undefined>>,
): Pick<GcsOptions, "tokens" | "signer"> {
  if (anonymous) return {};
  const path = serviceAccountFile ?? (env.GOOGLE_APPLICATION_CREDENTIALS || undefined);
  if (path === undefined) {
    return { tokens: createGoogleMetadataTokens({ scope: SCOPE, host: env.GCE_METADATA_HOST || undefined }) };
  }
  const file = createSecretFile(path);
  return { tokens: createServiceAccountTokens(file, { scope: SCOPE }), signer: () => readServiceAccount(file) };
}
