import { parseJson } from "@cache-registry/core/json";
import { z } from "zod";
import type { AwsCredentials } from "../cloud/aws-signature.ts";
import type { Lasting } from "../renewed.ts";
import { createSecretFile } from "../secret.ts";
import {
  type CloudAnswer,
  type CloudRequest,
  type Environment,
  lifetimeOf,
  refusal,
  type SendCloudRequest,
  unusable,
} from "./cloud-request.ts";

const Answer = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  Token: z.string().min(1),
  Expiration: z.string(),
});

function credentialsOf(answer: CloudAnswer, url: URL): Lasting<AwsCredentials> {
  const parsed = Answer.safeParse(parseJson(answer.text));
  if (!parsed.success) throw unusable(`${url.host}: gave no credentials`);
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken, Expiration } = parsed.data;
  return { value: { accessKeyId, secretAccessKey, sessionToken }, lifetime: lifetimeOf(Expiration, answer) };
}

async function ask(send: SendCloudRequest, request: CloudRequest): Promise<CloudAnswer> {
  const answer = await send({ ...request, local: true });
  if (answer.status !== 200) throw refusal(request.url, answer);
  return answer;
}

const ECS_HOST = "http://169.254.170.2";
/** Where credentials may come from without encryption: this machine, ECS, EKS Pod Identity. As in the AWS SDKs. */
const PLAIN_HOSTS = new Set(["localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]);

function containerUrl(env: Environment): URL | undefined {
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative, AWS_CONTAINER_CREDENTIALS_FULL_URI: full } = env;
  if (relative) return new URL(relative, ECS_HOST);
  if (!full) return undefined;
  if (!URL.canParse(full)) throw unusable("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL");
  const url = new URL(full);
  if (url.protocol === "https:" || PLAIN_HOSTS.has(url.hostname) || url.hostname.startsWith("127.")) return url;
  throw unusable("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine");
}

async function containerToken(env: Environment): Promise<string | undefined> {
  const { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file, AWS_CONTAINER_AUTHORIZATION_TOKEN: token } = env;
  return file ? createSecretFile(file).read() : token || undefined;
}

/** Credentials of an ECS task or an EKS pod identity; undefined outside of such. */
export async function containerCredentials(
  send: SendCloudRequest,
  env: Environment,
): Promise<Lasting<AwsCredentials> | undefined> {
  const url = containerUrl(env);
  if (!url) return undefined;
  const authorization = await containerToken(env);
  const headers = { accept: "application/json", ...(authorization === undefined ? {} : { authorization }) };
  return credentialsOf(await ask(send, { method: "GET", url, headers }), url);
}

/** While it cannot renew them, the service hands out expired ones, which may be valid for longer than they say. */
const MIN_INSTANCE_LIFETIME_MS = 60_000;

function instanceUrl({ AWS_EC2_METADATA_SERVICE_ENDPOINT: set, ...env }: Environment): URL {
  const isIPv6 = env.AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE?.toLowerCase() === "ipv6";
  const url = set || (isIPv6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254");
  if (!URL.canParse(url)) throw unusable("AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL");
  return new URL(url);
}

/** Credentials of the instance's role, by version 2 of its metadata service. */
export async function instanceCredentials(send: SendCloudRequest, env: Environment): Promise<Lasting<AwsCredentials>> {
  const base = instanceUrl(env);
  const at = (path: string): URL => new URL(`/latest/${path}`, base);
  const session = await ask(send, {
    method: "PUT",
    url: at("api/token"),
    headers: { "x-aws-ec2-metadata-token-ttl-seconds": "300" },
  });
  const headers = { "x-aws-ec2-metadata-token": session.text.trim() };
  const folder = "meta-data/iam/security-credentials/";
  const roles = await send({ method: "GET", url: at(folder), headers, local: true });
  if (roles.status === 404) throw unusable(`${base.host}: the instance has no role`);
  if (roles.status !== 200) throw refusal(base, roles);
  const url = at(`${folder}${encodeURIComponent(roles.text.trim().split("\n")[0] ?? "")}`);
  const { value, lifetime } = credentialsOf(await ask(send, { method: "GET", url, headers }), url);
  return { value, lifetime: Math.max(lifetime, MIN_INSTANCE_LIFETIME_MS) };
}
