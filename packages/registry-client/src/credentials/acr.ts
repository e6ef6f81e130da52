import { parseJson } from "@cache-registry/core/json";
import { createAzureTokens } from "@cache-registry/runtime/cloud-identity/azure";
import {
  type Environment,
  errorCodeOf,
  type Fetch,
  unusable,
} from "@cache-registry/runtime/cloud-identity/cloud-request";
import type { TokenSource } from "@cache-registry/runtime/cloud-identity/token-source";
import { createRenewed } from "@cache-registry/runtime/renewed";
import { z } from "zod";
import { readCapped } from "../body.ts";
import type { Transport } from "../transport.ts";
import type { Upstream } from "../upstream.ts";
import type { CredentialsEntry } from "./config.ts";
import type { HeldIdentity } from "./question.ts";

const RESOURCE = "https://containerregistry.azure.net";
const MAX_ANSWER_BYTES = 256 * 1024;
const TIMEOUT_MS = 15_000;
/** Refresh tokens live for three hours; used when one does not say. */
const LIFETIME_MS = 3600_000;

const Answer = z.object({ refresh_token: z.string().min(1) });
const Claims = z.object({ iat: z.number(), exp: z.number() });

/** How long a JWT is valid from its issue, which is now. */
function lifetimeOfJwt(token: string): number {
  const claims = Claims.safeParse(parseJson(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")));
  return claims.success ? (claims.data.exp - claims.data.iat) * 1000 : LIFETIME_MS;
}

export type AcrOptions = {
  readonly entry: CredentialsEntry;
  readonly env: Environment;
  readonly fetch: Fetch;
  readonly transport: Transport;
  readonly upstream: Upstream;
  readonly endpoint: URL;
};

/** The keys of the entry go before the variables that Azure's own tools know. */
function tokensOf({ entry, env, fetch }: AcrOptions): {
  readonly tokens: TokenSource;
  readonly tenant: string | undefined;
} {
  const { clientSecretFile, federatedTokenFile } = entry;
  const tenant = entry.tenantId ?? (env.AZURE_TENANT_ID || undefined);
  const clientId = entry.clientId ?? (env.AZURE_CLIENT_ID || undefined);
  if ((clientSecretFile ?? federatedTokenFile) !== undefined && !(tenant && clientId)) {
    throw unusable("tenantId and clientId, or AZURE_TENANT_ID and AZURE_CLIENT_ID, are needed");
  }
  const variables = {
    ...env,
    AZURE_TENANT_ID: tenant,
    AZURE_CLIENT_ID: clientId,
    ...(federatedTokenFile === undefined
      ? {}
      : { AZURE_FEDERATED_TOKEN_FILE: federatedTokenFile, AZURE_CLIENT_SECRET: undefined }),
  };
  return {
    tenant,
    tokens: createAzureTokens({ resource: RESOURCE, env: variables, clientSecretFile, fetch }),
  };
}

/**
 * Azure Container Registry: a token of Entra ID is exchanged at the registry for a refresh token, which its token service
 * takes (github.com/Azure/acr, docs/AAD-OAuth.md).
 */
export function createAcr(options: AcrOptions): HeldIdentity {
  const { transport, upstream, endpoint } = options;
  const { tokens, tenant } = tokensOf(options);

  async function exchange(accessToken: string): Promise<string> {
    const fields = { grant_type: "access_token", service: upstream.registry, access_token: accessToken };
    const response = await transport.send({
      upstream,
      url: new URL("/oauth2/exchange", endpoint),
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ ...fields, ...(tenant ? { tenant } : {}) }).toString(),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = (await readCapped(response.body, { bytes: MAX_ANSWER_BYTES })).toString("utf8");
    if (response.statusCode !== 200) {
      throw unusable(
        `${endpoint.host}: the exchange answered ${response.statusCode} ${errorCodeOf(text) ?? ""}`.trim(),
      );
    }
    const parsed = Answer.safeParse(parseJson(text));
    if (!parsed.success) throw unusable(`${endpoint.host}: the exchange gave no token`);
    return parsed.data.refresh_token;
  }

  return createRenewed({
    async obtain() {
      const { value: accessToken } = await tokens.token();
      try {
        const token = await exchange(accessToken);
        return { value: { kind: "identity-token" as const, token }, lifetime: lifetimeOfJwt(token) };
      } catch (error) {
        tokens.forget(accessToken);
        throw error;
      }
    },
  });
}
