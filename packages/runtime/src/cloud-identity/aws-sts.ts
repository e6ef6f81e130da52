import { createHash } from "node:crypto";
import { type AwsCredentials, signedHeaders } from "../cloud/aws-signature.ts";
import type { Lasting } from "../renewed.ts";
import { createSecretFile } from "../secret.ts";
import {
  type CloudAnswer,
  type CloudRequest,
  type Environment,
  formRequest,
  lifetimeOf,
  refusal,
  type SendCloudRequest,
  unusable,
} from "./cloud-request.ts";

export type StsOptions = {
  readonly send: SendCloudRequest;
  readonly env: Environment;
  readonly region: string;
  readonly endpoint: URL;
};

const VERSION = "2011-06-15";

/** AWS Security Token Service answers in XML whose values need no unescaping: base64 and dates. */
function credentialsOf(answer: CloudAnswer, endpoint: URL): Lasting<AwsCredentials> {
  if (answer.status !== 200) throw refusal(endpoint, answer);
  const field = (name: string): string =>
    new RegExp(`<${name}>\\s*([^<\\s]+)\\s*</${name}>`).exec(answer.text)?.[1] ?? "";
  const value = {
    accessKeyId: field("AccessKeyId"),
    secretAccessKey: field("SecretAccessKey"),
    sessionToken: field("SessionToken"),
  };
  if (Object.values(value).includes("")) throw unusable(`${endpoint.host}: gave no credentials`);
  return { value, lifetime: lifetimeOf(field("Expiration"), answer) };
}

function sessionName({ AWS_ROLE_SESSION_NAME: name }: Environment): string {
  return name || "cache-registry";
}

/** As pods with a role for their service account do (IRSA). The token file is read each time: it is replaced every hour. */
export async function assumeRoleWithWebIdentity(
  { send, env, endpoint }: StsOptions,
  { roleArn, tokenFile }: { readonly roleArn: string; readonly tokenFile: string },
): Promise<Lasting<AwsCredentials>> {
  const request = formRequest(endpoint, {
    Action: "AssumeRoleWithWebIdentity",
    Version: VERSION,
    RoleArn: roleArn,
    RoleSessionName: sessionName(env),
    WebIdentityToken: await createSecretFile(tokenFile).read(),
  });
  // It wants XML back.
  return credentialsOf(await send({ ...request, headers: { ...request.headers, accept: "text/xml" } }), endpoint);
}

export async function assumeRole(
  { send, env, endpoint, region }: StsOptions,
  { roleArn, credentials }: { readonly roleArn: string; readonly credentials: AwsCredentials },
): Promise<Lasting<AwsCredentials>> {
  const fields = { Action: "AssumeRole", Version: VERSION, RoleArn: roleArn, RoleSessionName: sessionName(env) };
  const request = formRequest(endpoint, fields);
  const signed = signRequest(
    { ...request, headers: { ...request.headers, accept: "text/xml" } },
    { credentials, region, service: "sts" },
  );
  return credentialsOf(await send(signed), endpoint);
}

/** A request with a body as AWS wants it signed. */
export function signRequest(
  request: CloudRequest,
  signing: { readonly credentials: AwsCredentials; readonly region: string; readonly service: string },
): CloudRequest {
  const { method, url, headers = {}, body = "" } = request;
  const payloadSha256 = createHash("sha256").update(body).digest("hex");
  const signed = signedHeaders({ method, url, headers, payloadSha256 }, { ...signing, now: new Date() });
  // The client writes it itself.
  const { host: _, ...rest } = signed;
  return { ...request, headers: rest };
}
