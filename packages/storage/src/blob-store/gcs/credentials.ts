import { readServiceAccount } from "@cache-registry/runtime/cloud-identity/google";
import { createGoogleTokens } from "@cache-registry/runtime/cloud-identity/google-credentials-file";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { GcsOptions } from "../gcs.ts";
import type { GcsConfig } from "./config.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";

/** From a file, which is read again when it changes, or else the identity of the pod or the machine. Only a key file can sign. */
export function createCredentials(
  { serviceAccountFile, anonymous }: Pick<GcsConfig, "serviceAccountFile" | "anonymous">,
  env: Readonly<Record<string, string | undefined>>,
): Pick<GcsOptions, "tokens" | "signer"> {
  if (anonymous) return {};
  const path = serviceAccountFile ?? (env.GOOGLE_APPLICATION_CREDENTIALS || undefined);
  const tokens = createGoogleTokens({ scope: SCOPE, env, credentialsFile: path });
  if (path === undefined) return { tokens };
  const file = createSecretFile(path);
  return { tokens, signer: () => readServiceAccount(file) };
}
