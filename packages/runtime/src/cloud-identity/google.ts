import { createPrivateKey, createSign, type KeyObject } from "node:crypto";
import { messageOf } from "@cache-registry/core/errors";
import { z } from "zod";
import type { SecretFile } from "../secret.ts";
import { requestToken } from "./token-request.ts";
import { createTokenSource, IdentityError, type TokenSource } from "./token-source.ts";

const keySchema = z.object({
  type: z.literal("service_account"),
  client_email: z.string().min(3),
  private_key: z.string(),
  private_key_id: z.string().optional(),
  token_uri: z.url({ protocol: /^https?$/ }).default("https://oauth2.googleapis.com/token"),
});

/** What a service account's key file (JSON) says. Never logged. */
export type GoogleServiceAccount = {
  readonly email: string;
  readonly privateKey: KeyObject;
  readonly privateKeyId: string | undefined;
  readonly tokenUri: string;
};

type Deps = {
  /** Space-separated, such as https://www.googleapis.com/auth/cloud-platform. */
  readonly scope: string;
  readonly fetch?: typeof globalThis.fetch;
  readonly now?: () => number;
};

/** @throws IdentityError that repeats nothing of the file */
export async function readServiceAccount(file: SecretFile): Promise<GoogleServiceAccount> {
  try {
    const parsed = keySchema.safeParse(JSON.parse(await file.read()));
    if (!parsed.success)
      throw new Error(`it lacks ${parsed.error.issues.map(({ path }) => path.join(".")).join(", ")}`);
    const { client_email: email, private_key, private_key_id: privateKeyId, token_uri: tokenUri } = parsed.data;
    return { email, privateKey: createPrivateKey(private_key), privateKeyId, tokenUri };
  } catch (error) {
    // JSON.parse repeats what it does not understand.
    const why = error instanceof SyntaxError ? "it is no JSON" : messageOf(error);
    throw new IdentityError(`${file.path} is no key file of a service account: ${why}`, { transient: false });
  }
}

/** RFC 7523: a token for an assertion signed with the account's key. The file is read again when it changed. */
export function createServiceAccountTokens(file: SecretFile, { scope, fetch, now = Date.now }: Deps): TokenSource {
  const acquire = async () => {
    const account = await readServiceAccount(file);
    return requestToken({
      who: "Google's token endpoint",
      url: account.tokenUri,
      form: {
        grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
        assertion: assertionOf(account, scope, Math.floor(now() / 1_000)),
      },
      fetch,
      now,
    });
  };
  return createTokenSource(acquire, { now });
}

function assertionOf(account: GoogleServiceAccount, scope: string, issuedAt: number): string {
  const { email, privateKey, privateKeyId, tokenUri } = account;
  const header = { alg: "RS256", typ: "JWT", kid: privateKeyId };
  const claims = { iss: email, scope, aud: tokenUri, iat: issuedAt, exp: issuedAt + 3_600 };
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`;
}

/** Tokens of the machine's or the pod's service account (workload identity). `host`: as in GCE_METADATA_HOST. */
export function createGoogleMetadataTokens({
  scope,
  host = "metadata.google.internal",
  fetch,
  now = Date.now,
}: Deps & { readonly host?: string | undefined }): TokenSource {
  const query = new URLSearchParams({ scopes: scope.replaceAll(" ", ",") });
  return createTokenSource(
    () =>
      requestToken({
        who: "the metadata server",
        url: `http://${host}/computeMetadata/v1/instance/service-accounts/default/token?${query.toString()}`,
        headers: { "metadata-flavor": "Google" },
        fetch,
        now,
      }),
    { now },
  );
}
