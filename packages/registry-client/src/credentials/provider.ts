import {
  createCloudRequests,
  type Environment,
  type Fetch,
} from "@cache-registry/runtime/cloud-identity/cloud-request";
import { createGoogleTokens } from "@cache-registry/runtime/cloud-identity/google-credentials-file";
import { createRenewed } from "@cache-registry/runtime/renewed";
import { type ProxyFor, proxyOf } from "../forward-proxy/forward-proxy.ts";
import type { Transport } from "../transport.ts";
import { createAcr } from "./acr.ts";
import { createCloudFetch } from "./cloud-fetch.ts";
import type { CredentialsEntry, Provider } from "./config.ts";
import { createEcr } from "./ecr.ts";
import { basicIdentity } from "./identity.ts";
import type { CredentialQuestion, HeldIdentity } from "./question.ts";

export type ProviderDeps = {
  readonly transport: Transport;
  /** Where clouds' credentials are looked for. */
  readonly env: Environment;
  readonly proxyFor: ProxyFor;
};

/** Google's registries take an access token as the password of this user. */
const GOOGLE_USER = "oauth2accesstoken";

const GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform";

function createGoogle({ credentialsFile }: CredentialsEntry, env: Environment, fetch: Fetch): HeldIdentity {
  const tokens = createGoogleTokens({ scope: GOOGLE_SCOPE, env, credentialsFile, fetch });
  const held = createRenewed({
    async obtain() {
      const { value, expiresAt } = await tokens.token();
      return { value: basicIdentity(GOOGLE_USER, value), lifetime: expiresAt - Date.now() };
    },
  });
  return {
    get: (signal) => held.get(signal),
    refuse(identity) {
      if (identity?.kind !== "basic") return;
      tokens.forget(identity.password);
      held.refuse(identity);
    },
  };
}

/** Asks the cloud that an entry names; one held identity for each endpoint. */
export function createProvider(
  entry: CredentialsEntry & { readonly provider: Provider },
  { transport, env, proxyFor }: ProviderDeps,
): (question: CredentialQuestion) => HeldIdentity {
  const held = new Map<string, HeldIdentity>();

  function create({ upstream, endpoint }: CredentialQuestion): HeldIdentity {
    const fetch = createCloudFetch((url) => proxyOf(upstream.proxy?.reveal(), url, proxyFor));
    if (entry.provider === "gcp") return createGoogle(entry, env, fetch);
    if (entry.provider === "acr") return createAcr({ entry, fetch, env, transport, upstream, endpoint });
    return createEcr({ ...entry, registry: upstream.registry, send: createCloudRequests(fetch), env });
  }

  return (question) => {
    const key = question.endpoint.origin;
    const known = held.get(key) ?? create(question);
    held.set(key, known);
    return known;
  };
}
