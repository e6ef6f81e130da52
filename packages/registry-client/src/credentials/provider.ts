import {
  createCloudRequests,
  type Environment,
  type SendCloudRequest,
} from "@cache-registry/runtime/cloud/cloud-request";
import { createGoogleToken } from "@cache-registry/runtime/cloud/google-token";
import type { Transport } from "../transport.ts";
import { createAcr } from "./acr.ts";
import type { CredentialsEntry, Provider } from "./config.ts";
import { createEcr } from "./ecr.ts";
import { basicIdentity } from "./identity.ts";
import type { CredentialQuestion, HeldIdentity } from "./question.ts";

export type ProviderDeps = { readonly transport: Transport; readonly env: Environment };

/** Google's registries take an access token as the password of this user. */
const GOOGLE_USER = "oauth2accesstoken";

function createGoogle(send: SendCloudRequest, env: Environment, { credentialsFile }: CredentialsEntry): HeldIdentity {
  const token = createGoogleToken({ send, env, credentialsFile });
  let held: { readonly token: string; readonly identity: ReturnType<typeof basicIdentity> } | undefined;
  return {
    async get(signal) {
      const current = await token.get(signal);
      const identity = held?.token === current ? held.identity : basicIdentity(GOOGLE_USER, current);
      held = { token: current, identity };
      return identity;
    },
    refuse(identity) {
      if (held && held.identity === identity) token.refuse(held.token);
    },
  };
}

/** Asks the cloud that an entry names; one held identity for each endpoint. */
export function createProvider(
  entry: CredentialsEntry & { readonly provider: Provider },
  { transport, env }: ProviderDeps,
): (question: CredentialQuestion) => HeldIdentity {
  const send = createCloudRequests(env);
  const held = new Map<string, HeldIdentity>();

  function create({ upstream, endpoint }: CredentialQuestion): HeldIdentity {
    if (entry.provider === "gcp") return createGoogle(send, env, entry);
    if (entry.provider === "acr") return createAcr({ ...entry, send, env, transport, upstream, endpoint });
    return createEcr({ ...entry, registry: upstream.registry, send, env });
  }

  return (question) => {
    const key = question.endpoint.origin;
    const known = held.get(key) ?? create(question);
    held.set(key, known);
    return known;
  };
}
