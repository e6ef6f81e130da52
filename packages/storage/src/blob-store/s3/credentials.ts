import { awsDomain } from "@cache-registry/runtime/cloud/aws-region";
import { createAwsCredentials } from "@cache-registry/runtime/cloud-identity/aws-credentials";
import { createCloudRequests, type Environment } from "@cache-registry/runtime/cloud-identity/cloud-request";
import type { Logger } from "@cache-registry/runtime/logger";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { S3Options } from "../s3.ts";
import type { S3Config } from "./config.ts";

export type CredentialDeps = { readonly env: Environment; readonly logger?: Logger | undefined };

/** From files, read again when they change, or else from where every AWS tool looks: variables, the role of the pod or the machine. */
export function createCredentials(
  config: Pick<S3Config, "accessKeyIdFile" | "secretAccessKeyFile" | "sessionTokenFile" | "region">,
  { env, logger }: CredentialDeps,
): Pick<S3Options, "credentials" | "refuse"> {
  const { accessKeyIdFile, secretAccessKeyFile, sessionTokenFile } = config;
  if (accessKeyIdFile !== undefined && secretAccessKeyFile !== undefined) {
    const id = createSecretFile(accessKeyIdFile);
    const secret = createSecretFile(secretAccessKeyFile);
    const token = sessionTokenFile === undefined ? undefined : createSecretFile(sessionTokenFile);
    return {
      credentials: async () => ({
        accessKeyId: await id.read(),
        secretAccessKey: await secret.read(),
        sessionToken: await token?.read(),
      }),
    };
  }
  // STS is asked where we run; the bucket may be elsewhere.
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || config.region;
  const renewed = createAwsCredentials({
    send: createCloudRequests(),
    env,
    region,
    domain: awsDomain(region),
    onFailure: (err) => logger?.warn({ err }, "AWS credentials for the object store are not to be had"),
  });
  return { credentials: () => renewed.get(), refuse: (refused) => renewed.refuse(refused) };
}
