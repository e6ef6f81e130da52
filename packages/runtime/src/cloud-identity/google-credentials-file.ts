import { parseJson } from "@cache-registry/core/json";
import { z } from "zod";
import { createSecretFile, type SecretFile } from "../secret.ts";
import { createCloudRequests, type Environment, type Fetch, lifetimeOf, refusal, unusable } from "./cloud-request.ts";
import { createGoogleMetadataTokens, createServiceAccountTokens } from "./google.ts";
import { type ExternalAccount, externalAccountSchema, subjectTokenOf } from "./google-external-account.ts";
import { requestToken } from "./token-request.ts";
import { type AccessToken, createTokenSource, type TokenSource } from "./token-source.ts";

export type GoogleIdentity = {
  /** Space-separated, such as https://www.googleapis.com/auth/cloud-platform. */
  readonly scope: string;
  readonly env: Environment;
  /** Default: GOOGLE_APPLICATION_CREDENTIALS; without either the metadata server is asked. */
  readonly credentialsFile?: string | undefined;
  readonly fetch?: Fetch | undefined;
};

type Deps = { readonly scope: string; readonly fetch?: Fetch | undefined };

const FileType = z.object({ type: z.enum(["service_account", "authorized_user", "external_account"]) });

const AuthorizedUser = z.object({
  client_id: z.string().min(1),
  client_secret: z.string().min(1),
  refresh_token: z.string().min(1),
  token_uri: z.url({ protocol: /^https?$/ }).default("https://oauth2.googleapis.com/token"),
});

/** What is wrong with a file is not quoted: it holds secrets. */
function parseFile<Schema extends z.ZodType>(schema: Schema, text: string, path: string): z.output<Schema> {
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw unusable(`${path} is no service account key and no supported workload identity configuration`);
}

/** Of a person who logged in with Google's tools. */
function createUserTokens(file: SecretFile, { fetch }: Deps): TokenSource {
  return createTokenSource(async () => {
    const user = parseFile(AuthorizedUser, await file.read(), file.path);
    const { client_id, client_secret, refresh_token, token_uri: url } = user;
    const form = { grant_type: "refresh_token", client_id, client_secret, refresh_token };
    return requestToken({ who: "Google's token endpoint", url, form, fetch });
  });
}

const Impersonated = z.object({ accessToken: z.string().min(1), expireTime: z.string() });

/** The token of a service account, whose place the federated identity may take. */
async function impersonate(url: URL, federated: AccessToken, { scope, fetch }: Deps): Promise<AccessToken> {
  const answer = await createCloudRequests(fetch)({
    method: "POST",
    url,
    headers: { authorization: `Bearer ${federated.value}`, "content-type": "application/json" },
    body: JSON.stringify({ scope: scope.split(" "), lifetime: "3600s" }),
  });
  if (answer.status !== 200) throw refusal(url, answer);
  const parsed = Impersonated.safeParse(parseJson(answer.text));
  if (!parsed.success) throw unusable(`${url.host}: gave no token`);
  return { value: parsed.data.accessToken, expiresAt: Date.now() + lifetimeOf(parsed.data.expireTime, answer) };
}

/** Workload identity federation: a token of another identity provider is exchanged, RFC 8693. */
async function federate(account: ExternalAccount, deps: Deps): Promise<AccessToken> {
  const { service_account_impersonation_url: impersonation } = account;
  const federated = await requestToken({
    who: "Google's token exchange",
    url: account.token_url,
    form: {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      audience: account.audience,
      scope: deps.scope,
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      subject_token_type: account.subject_token_type,
      subject_token: await subjectTokenOf(account),
    },
    fetch: deps.fetch,
  });
  return impersonation === undefined ? federated : impersonate(new URL(impersonation), federated, deps);
}

/** Whatever kind of file it is, now or after a change. */
function createFileTokens(file: SecretFile, deps: Deps): TokenSource {
  const sources = {
    service_account: createServiceAccountTokens(file, deps),
    authorized_user: createUserTokens(file, deps),
    external_account: createTokenSource(async () =>
      federate(parseFile(externalAccountSchema, await file.read(), file.path), deps),
    ),
  };
  return {
    async token() {
      const { type } = parseFile(FileType, await file.read(), file.path);
      return sources[type].token();
    },
    forget(value) {
      for (const source of Object.values(sources)) source.forget(value);
    },
  };
}

/**
 * Tokens of Google as its own tools find them ("application default credentials"): by the file that is named, or of the
 * machine's or the pod's service account.
 */
export function createGoogleTokens({ scope, env, credentialsFile, fetch }: GoogleIdentity): TokenSource {
  const path = credentialsFile ?? (env.GOOGLE_APPLICATION_CREDENTIALS || undefined);
  if (path === undefined) return createGoogleMetadataTokens({ scope, host: env.GCE_METADATA_HOST || undefined });
  return createFileTokens(createSecretFile(path), { scope, fetch });
}
