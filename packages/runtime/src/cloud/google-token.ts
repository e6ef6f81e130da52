import { createSign } from "node:crypto";
import { z } from "zod";
import { createRenewed, type Lasting, type Renewed } from "../renewed.ts";
import { createSecretFile } from "../secret.ts";
import {
  CloudError,
  type CloudRequest,
  type Environment,
  formRequest,
  lifetimeOf,
  parseJson,
  refusal,
  type SendCloudRequest,
} from "./cloud-request.ts";
import { type ExternalAccount, externalAccountSchema, subjectTokenOf } from "./google-external-account.ts";

export type GoogleTokenOptions = {
  readonly send: SendCloudRequest;
  readonly env: Environment;
  /** Default: GOOGLE_APPLICATION_CREDENTIALS; without either the metadata server is asked. */
  readonly credentialsFile?: string | undefined;
};

const SCOPE = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI = "https://oauth2.googleapis.com/token";
const LIFETIME_S = 3600;

const httpsUrl = z.url({ protocol: /^https?$/ });

/** The files that Google's own tools write. Only what we use. */
const CredentialsFile = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("service_account"),
    client_email: z.string().min(1),
    private_key: z.string().min(1),
    private_key_id: z.string().optional(),
    token_uri: httpsUrl.default(TOKEN_URI),
  }),
  z.object({
    type: z.literal("authorized_user"),
    client_id: z.string().min(1),
    client_secret: z.string().min(1),
    refresh_token: z.string().min(1),
    token_uri: httpsUrl.default(TOKEN_URI),
  }),
  externalAccountSchema,
]);
type CredentialsFile = z.output<typeof CredentialsFile>;
type ServiceAccount = Extract<CredentialsFile, { type: "service_account" }>;

/** OAuth2, RFC 6749 §5.1. */
const TokenAnswer = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().positive() });

async function askForToken(send: SendCloudRequest, request: CloudRequest): Promise<Lasting<string>> {
  const answer = await send(request);
  if (answer.status !== 200) throw refusal(request.url, answer);
  const parsed = TokenAnswer.safeParse(parseJson(answer.text));
  if (!parsed.success) throw new CloudError(`${request.url.host}: gave no token`);
  return { value: parsed.data.access_token, lifetime: parsed.data.expires_in * 1000 };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** RFC 7523: who holds the private key asks for a token. */
function assertionOf(account: ServiceAccount): string {
  const now = Math.floor(Date.now() / 1000);
  const { client_email: iss, token_uri: aud, private_key_id: kid } = account;
  const header = { alg: "RS256", typ: "JWT", ...(kid === undefined ? {} : { kid }) };
  const content = `${encode(header)}.${encode({ iss, scope: SCOPE, aud, iat: now, exp: now + LIFETIME_S })}`;
  try {
    return `${content}.${createSign("RSA-SHA256").update(content).sign(account.private_key, "base64url")}`;
  } catch {
    throw new CloudError("the private key of the service account cannot be used");
  }
}

const Impersonated = z.object({ accessToken: z.string().min(1), expireTime: z.string() });

/** Workload identity federation: a token of another identity provider is exchanged, RFC 8693. */
async function federatedToken(send: SendCloudRequest, account: ExternalAccount): Promise<Lasting<string>> {
  const exchange = formRequest(new URL(account.token_url), {
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    audience: account.audience,
    scope: SCOPE,
    requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
    subject_token_type: account.subject_token_type,
    subject_token: await subjectTokenOf(send, account),
  });
  const federated = await askForToken(send, exchange);
  if (account.service_account_impersonation_url === undefined) return federated;
  const url = new URL(account.service_account_impersonation_url);
  const answer = await send({
    method: "POST",
    url,
    headers: { authorization: `Bearer ${federated.value}`, "content-type": "application/json" },
    body: JSON.stringify({ scope: [SCOPE], lifetime: `${LIFETIME_S}s` }),
  });
  if (answer.status !== 200) throw refusal(url, answer);
  const parsed = Impersonated.safeParse(parseJson(answer.text));
  if (!parsed.success) throw new CloudError(`${url.host}: gave no token`);
  return { value: parsed.data.accessToken, lifetime: lifetimeOf(parsed.data.expireTime, answer) };
}

/** The account of the machine, or with GKE's workload identity that of the pod. */
function metadataToken(send: SendCloudRequest, env: Environment): Promise<Lasting<string>> {
  const host = env.GCE_METADATA_HOST || "metadata.google.internal";
  const url = new URL(`http://${host}/computeMetadata/v1/instance/service-accounts/default/token`);
  return askForToken(send, { method: "GET", url, headers: { "metadata-flavor": "Google" }, local: true });
}

async function fileToken(send: SendCloudRequest, path: string): Promise<Lasting<string>> {
  const parsed = CredentialsFile.safeParse(parseJson(await createSecretFile(path).read()));
  // What is wrong with it is not quoted: it holds a private key.
  if (!parsed.success)
    throw new CloudError(`${path} is no service account key and no supported workload identity file`);
  const file = parsed.data;
  if (file.type === "external_account") return federatedToken(send, file);
  const fields: Record<string, string> =
    file.type === "service_account"
      ? { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: assertionOf(file) }
      : {
          grant_type: "refresh_token",
          client_id: file.client_id,
          client_secret: file.client_secret,
          refresh_token: file.refresh_token,
        };
  return askForToken(send, formRequest(new URL(file.token_uri), fields));
}

/** An access token for Google Cloud, renewed before it expires. @throws CloudError from `get` */
export function createGoogleToken({ send, env, credentialsFile }: GoogleTokenOptions): Renewed<string> {
  const path = credentialsFile ?? (env.GOOGLE_APPLICATION_CREDENTIALS || undefined);
  return createRenewed({ obtain: () => (path === undefined ? metadataToken(send, env) : fileToken(send, path)) });
}
