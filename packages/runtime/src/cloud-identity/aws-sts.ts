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

/** Regions that AWS_STS_REGIONAL_ENDPOINTS=legacy sends to the global endpoint (AWS SDKs and Tools Reference Guide). */
const LEGACY_REGIONS: ReadonlySet<string> = new Set(
  `ap-northeast-1 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1 eu-west-1 eu-west-2
  eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2`.split(/\s+/),
);

/** The region's endpoint unless the variables name another; the region is that of signatures. */
export function stsPlace(region: string, domain: string, env: Environment): Pick<StsOptions, "region" | "endpoint"> {
  const named = env.AWS_ENDPOINT_URL_STS || env.AWS_ENDPOINT_URL;
  const isLegacy = env.AWS_STS_REGIONAL_ENDPOINTS?.toLowerCase() === "legacy" && LEGACY_REGIONS.has(region);
  if (isLegacy && !named) return { region: "us-east-1", endpoint: new URL("https://sts.amazonaws.com/") };
  return { region, endpoint: awsEndpoint("sts", `https://sts.${region}.${domain}/`, env) };
}

/** Endpoint of a service: the variables that every AWS tool knows go before the usual name. @throws IdentityError */
export function awsEndpoint(service: string, usual: string, env: Environment): URL {
  const names = [`AWS_ENDPOINT_URL_${service.toUpperCase()}`, "AWS_ENDPOINT_URL"];
  const name = names.find((candidate) => env[candidate]);
  const url = (name && env[name]) || usual;
  if (!URL.canParse(url)) throw unusable(`${name} is no URL`);
  return new URL(url);
}

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
