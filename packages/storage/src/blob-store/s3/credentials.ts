import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import { createSecretFile } from "@cache-registry/runtime/secret";

export type CredentialFiles = {
  readonly accessKeyIdFile?: string | undefined;
  readonly secretAccessKeyFile?: string | undefined;
  readonly sessionTokenFile?: string | undefined;
};

/**
 * From files, read again when they change, or else from the variables that every AWS tool knows.
 * @throws Error when there are neither
 */
export function createCredentials(
  files: CredentialFiles,
  env: Readonly<Record<string, string | undefined>>,
): () => Promise<AwsCredentials> {
  const { accessKeyIdFile, secretAccessKeyFile, sessionTokenFile } = files;
  if (accessKeyIdFile !== undefined && secretAccessKeyFile !== undefined) {
    const id = createSecretFile(accessKeyIdFile);
    const secret = createSecretFile(secretAccessKeyFile);
    const token = sessionTokenFile === undefined ? undefined : createSecretFile(sessionTokenFile);
    return async () => ({
      accessKeyId: await id.read(),
      secretAccessKey: await secret.read(),
      sessionToken: await token?.read(),
    });
  }
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (!accessKeyId || !secretAccessKey) {
    throw new Error(
      "storage.blobs.s3 needs accessKeyIdFile and secretAccessKeyFile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    );
  }
  const sessionToken = env.AWS_SESSION_TOKEN || undefined;
  return async () => ({ accessKeyId, secretAccessKey, sessionToken });
}
