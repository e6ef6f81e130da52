import { messageOf } from "@cache-registry/core/errors";
import type { AwsCredentials } from "../cloud/aws-signature.ts";
import { createRenewed, type Lasting, type Renewed } from "../renewed.ts";
import { containerCredentials, instanceCredentials } from "./aws-metadata.ts";
import { assumeRole, assumeRoleWithWebIdentity, type StsOptions, stsPlace } from "./aws-sts.ts";
import { type Environment, type SendCloudRequest, unusable } from "./cloud-request.ts";
import { IdentityError } from "./token-source.ts";

export type AwsCredentialOptions = {
  readonly send: SendCloudRequest;
  readonly env: Environment;
  readonly region: string;
  /** `amazonaws.com`, or that of another partition. */
  readonly domain: string;
  /** Assumed with what was found. */
  readonly roleArn?: string | undefined;
  /** Told of each failure to obtain some, also while the old ones are still valid. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
};

type Found = Lasting<AwsCredentials> & {
  /** It is the role that was to be assumed already. */
  readonly assumed?: boolean;
};

const FOR_EVER = Number.MAX_SAFE_INTEGER;

/** An error that says where they were looked for: the names of variables, never their values. */
async function from<Value>(source: string, asking: Promise<Value>): Promise<Value> {
  try {
    return await asking;
  } catch (error) {
    const transient = error instanceof IdentityError && error.transient;
    throw new IdentityError(`no AWS credentials from ${source}: ${messageOf(error)}`, { transient, cause: error });
  }
}

function fromVariables(env: Environment): Found | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN } = env;
  if (!accessKeyId && !secretAccessKey) return undefined;
  if (!accessKeyId) throw unusable("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not");
  if (!secretAccessKey) throw unusable("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
  return { value: { accessKeyId, secretAccessKey, sessionToken: AWS_SESSION_TOKEN || undefined }, lifetime: FOR_EVER };
}

async function fromWebIdentity({ env, roleArn }: AwsCredentialOptions, sts: StsOptions): Promise<Found | undefined> {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN } = env;
  if (!tokenFile) return undefined;
  const webRole = AWS_ROLE_ARN || roleArn;
  if (!webRole) throw unusable("AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
  const source = "the service account's role (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)";
  const found = await from(source, assumeRoleWithWebIdentity(sts, { roleArn: webRole, tokenFile }));
  return { ...found, assumed: !AWS_ROLE_ARN };
}

async function fromContainer({ env, send }: AwsCredentialOptions): Promise<Found | undefined> {
  const isRelative = Boolean(env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI);
  const source = `AWS_CONTAINER_CREDENTIALS_${isRelative ? "RELATIVE" : "FULL"}_URI`;
  return from(`the container's agent (${source})`, containerCredentials(send, env));
}

const UNSET =
  "none of AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_CONTAINER_CREDENTIALS_FULL_URI is set, and";

/** @param known whether it gave some before: if not, this is most likely no instance, and trying again does not mend it */
async function fromInstance({ env, send }: AwsCredentialOptions, known: boolean): Promise<Found> {
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === "true") {
    throw unusable(`no AWS credentials: ${UNSET} AWS_EC2_METADATA_DISABLED is`);
  }
  try {
    return await instanceCredentials(send, env);
  } catch (error) {
    const transient = known && error instanceof IdentityError && error.transient;
    const message = `no AWS credentials: ${UNSET} the instance metadata service gives none: ${messageOf(error)}`;
    throw new IdentityError(message, { transient, cause: error });
  }
}

/**
 * AWS credentials of this process, renewed before they expire. The order is that of the AWS SDKs, without their configuration
 * files: variables, web identity (IRSA), container (EKS Pod Identity, ECS), instance (IMDSv2).
 * @throws IdentityError from `get`
 */
export function createAwsCredentials(options: AwsCredentialOptions): Renewed<AwsCredentials> {
  const { env, region, domain, roleArn, send, onFailure } = options;
  let isInstance = false;

  async function find(sts: StsOptions): Promise<Found> {
    const named = fromVariables(env) ?? (await fromWebIdentity(options, sts)) ?? (await fromContainer(options));
    if (named) return named;
    const found = await fromInstance(options, isInstance);
    isInstance = true;
    return found;
  }

  return createRenewed({
    async obtain() {
      const sts = { send, env, ...stsPlace(region, domain, env) };
      const found = await find(sts);
      if (roleArn === undefined || found.assumed) return found;
      return from(`the role ${roleArn}`, assumeRole(sts, { roleArn, credentials: found.value }));
    },
    onFailure,
  });
}
