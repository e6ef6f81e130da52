import type { AwsCredentials } from "../cloud/aws-signature.ts";
import { createRenewed, type Lasting, type Renewed } from "../renewed.ts";
import { containerCredentials, instanceCredentials } from "./aws-metadata.ts";
import { assumeRole, assumeRoleWithWebIdentity, type StsOptions } from "./aws-sts.ts";
import { type Environment, type SendCloudRequest, unusable } from "./cloud-request.ts";

export type AwsCredentialOptions = {
  readonly send: SendCloudRequest;
  readonly env: Environment;
  readonly region: string;
  /** `amazonaws.com`, or that of another partition. */
  readonly domain: string;
  /** Assumed with what was found. */
  readonly roleArn?: string | undefined;
};

const FOR_EVER = Number.MAX_SAFE_INTEGER;

/** Endpoint of a service: the variables that every AWS tool knows go before the usual name. */
export function awsEndpoint(service: string, usual: string, env: Environment): URL {
  const set = env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] || env.AWS_ENDPOINT_URL;
  return new URL(set || usual);
}

/** The order of the AWS SDKs, without their configuration files: variables, web identity, container, instance. */
async function find(options: AwsCredentialOptions, sts: StsOptions): Promise<Lasting<AwsCredentials>> {
  const { env, send } = options;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN } = env;
  if (accessKeyId && secretAccessKey) {
    return {
      value: { accessKeyId, secretAccessKey, sessionToken: AWS_SESSION_TOKEN || undefined },
      lifetime: FOR_EVER,
    };
  }
  const { AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN } = env;
  const webRole = AWS_ROLE_ARN || options.roleArn;
  if (tokenFile && webRole) return assumeRoleWithWebIdentity(sts, { roleArn: webRole, tokenFile });
  const container = await containerCredentials(send, env);
  if (container) return container;
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === "true") {
    throw unusable("no AWS credentials: none in the environment, and the metadata service is disabled");
  }
  return instanceCredentials(send, env);
}

/** AWS credentials of this process, renewed before they expire. @throws IdentityError from `get` */
export function createAwsCredentials(options: AwsCredentialOptions): Renewed<AwsCredentials> {
  const { env, region, domain, roleArn, send } = options;
  const sts = { send, env, region, endpoint: awsEndpoint("sts", `https://sts.${region}.${domain}/`, env) };
  return createRenewed({
    async obtain() {
      const found = await find(options, sts);
      const assumed = env.AWS_WEB_IDENTITY_TOKEN_FILE && !env.AWS_ROLE_ARN && !env.AWS_ACCESS_KEY_ID;
      return roleArn === undefined || assumed ? found : assumeRole(sts, { roleArn, credentials: found.value });
    },
  });
}
