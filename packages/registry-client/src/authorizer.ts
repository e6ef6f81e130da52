import { isDeepStrictEqual } from "node:util";
import { messageOf } from "@cache-registry/core/errors";
import type { Environment } from "@cache-registry/runtime/cloud-identity/cloud-request";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Challenge } from "./challenge.ts";
import { basicAuthorization, type Identity, parseBasicAuthorization } from "./credentials/identity.ts";
import { type CredentialSource, createCredentialSource } from "./credentials/source.ts";
import { dialledDirectly, type ProxyFor } from "./forward-proxy/forward-proxy.ts";
import { createRecentMap } from "./recent-map.ts";
import type { Exchangeable, TokenDemand, TokenRequest, TokenSource } from "./token.ts";
import type { Transport } from "./transport.ts";
import type { Upstream } from "./upstream.ts";
import { isUpstreamError, UpstreamError } from "./upstream-error.ts";

export type AuthorizationContext = {
  readonly upstream: Upstream;
  readonly endpoint: URL;
  readonly repository: string;
  /** The caller's own `Authorization` header for this upstream; replaces what is configured. */
  readonly authorization?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type Authorizer = {
  /** The header to start with: what worked before, so that not every request is refused first. @throws UpstreamError */
  prepare(context: AuthorizationContext): Promise<string | undefined>;
  /**
   * The header that answers a 401. Undefined: there is nothing (more) to offer. `refused` is the header that was refused.
   * @throws UpstreamError
   */
  answer(
    context: AuthorizationContext,
    challenges: readonly Challenge[],
    refused: string | undefined,
  ): Promise<string | undefined>;
};

/** Credentials, and the header that was refused. */
type Offer = { readonly identity: Exchangeable | undefined; readonly refused: string | undefined };

type Known = { readonly scheme: "basic" } | { readonly scheme: "bearer"; readonly demand: TokenDemand };

const MAX_KNOWN = 2000;
const MAX_COMPLAINTS = 100;
const COMPLAINT_INTERVAL_MS = 60_000;
const MAX_SCOPES = 5;
const MAX_SCOPE_LENGTH = 512;

/** Distribution token specification: what reading one repository needs. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}

/** We only ever read: whatever more a challenge asks for is left out. */
function withoutWrites(scope: string): string {
  const match = /^(repository(?:\([^)]*\))?:.+):[^:]*$/.exec(scope);
  return match ? `${match[1]}:pull` : scope;
}

/** The scopes of a challenge, which a registry may name otherwise than by its path; the canonical one when it names none. */
function scopesOf(scope: string | undefined, repository: string): string[] {
  const asked = (scope ?? "").split(" ").filter((item) => item !== "" && item.length <= MAX_SCOPE_LENGTH);
  const scopes = asked.length > 0 ? asked.slice(0, MAX_SCOPES).map(withoutWrites) : [pullScope(repository)];
  return [...new Set(scopes)].sort();
}

function demandOf(challenges: readonly Challenge[], repository: string): TokenDemand | undefined {
  const bearer = challenges.find(({ scheme }) => scheme === "bearer");
  const { realm, service, scope } = bearer?.parameters ?? {};
  return realm === undefined ? undefined : { realm, service, scopes: scopesOf(scope, repository) };
}

export type AuthorizerDeps = {
  readonly tokens: TokenSource;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly proxyFor?: ProxyFor | undefined;
  /** For tests: where clouds' credentials are looked for. */
  readonly env?: Environment | undefined;
};

/** Answers the challenges of upstreams, and remembers per repository what they asked for. */
export function createAuthorizer({
  tokens,
  transport,
  logger,
  env = process.env,
  proxyFor = dialledDirectly,
}: AuthorizerDeps): Authorizer {
  const sources = new WeakMap<object, CredentialSource>();
  const known = createRecentMap<string, Known>(MAX_KNOWN);
  const complaints = createRecentMap<string, number>(MAX_COMPLAINTS);
  const keyOf = ({ upstream, endpoint, repository }: AuthorizationContext): string =>
    `${upstream.registry} ${endpoint.origin} ${repository}`;

  function sourceOf({ credentials }: Upstream): CredentialSource | undefined {
    if (!credentials) return undefined;
    const source = sources.get(credentials) ?? createCredentialSource(credentials, { transport, env, proxyFor });
    sources.set(credentials, source);
    return source;
  }

  /** Every request would tell it again. */
  function complain(registry: string, error: unknown): void {
    const key = `${registry} ${messageOf(error)}`;
    if (performance.now() - (complaints.get(key) ?? Number.NEGATIVE_INFINITY) < COMPLAINT_INTERVAL_MS) return;
    complaints.set(key, performance.now());
    logger.warn({ upstream: registry, err: error }, "credentials of an upstream cannot be had");
  }

  /** `refused`: what was given before and did not help. */
  async function identityOf(context: AuthorizationContext, refused?: Identity): Promise<Identity | undefined> {
    const { upstream, authorization, signal } = context;
    if (authorization !== undefined) return parseBasicAuthorization(authorization);
    try {
      return await sourceOf(upstream)?.read({ ...context, refused });
    } catch (error) {
      signal?.throwIfAborted();
      complain(upstream.registry, error);
      const { registry } = upstream;
      throw new UpstreamError("its credentials cannot be had", {
        kind: "unauthorized",
        registry,
        cause: error,
        ofCredentials: true,
        // Whoever gives them is not asked more often than it should be; files are only read.
        remembered: true,
      });
    }
  }

  async function bearer(context: AuthorizationContext, demand: TokenDemand, offer: Offer): Promise<string> {
    const { upstream, endpoint, signal } = context;
    const request: TokenRequest = { upstream, endpoint, demand, identity: offer.identity, signal };
    const held = await tokens.get(request);
    if (`Bearer ${held}` !== offer.refused) return `Bearer ${held}`;
    // Revoked, or expired by the registry's clock.
    tokens.forget(request);
    return `Bearer ${await tokens.get(request)}`;
  }

  async function headerFor(
    context: AuthorizationContext,
    way: Known,
    identity: Identity | undefined,
    refused: string | undefined,
  ): Promise<string | undefined> {
    if (identity?.kind === "registry-token") return `Bearer ${identity.token}`;
    if (way.scheme === "bearer") return bearer(context, way.demand, { identity, refused });
    return identity?.kind === "basic" ? basicAuthorization(identity) : undefined;
  }

  /** With other credentials than before, when there are such: what was held may have expired or been replaced. */
  async function headerOf(context: AuthorizationContext, way: Known, refused?: string): Promise<string | undefined> {
    const identity = await identityOf(context);
    let failure: UpstreamError | undefined;
    try {
      const header = await headerFor(context, way, identity, refused);
      if (header === undefined || header !== refused) return header;
    } catch (error) {
      if (!isUpstreamError(error) || error.kind !== "unauthorized") throw error;
      failure = error;
    }
    const other = identity && (await identityOf(context, identity));
    if (other && !isDeepStrictEqual(other, identity)) return headerFor(context, way, other, refused);
    if (failure) throw failure;
    return undefined;
  }

  /** A bearer token of the caller's own is what it is: there is nothing to exchange. */
  function isOpaque({ authorization }: AuthorizationContext): boolean {
    return authorization !== undefined && parseBasicAuthorization(authorization) === undefined;
  }

  return {
    async prepare(context) {
      if (isOpaque(context)) return context.authorization;
      const way = known.get(keyOf(context));
      return way && headerOf(context, way);
    },
    async answer(context, challenges, refused) {
      if (isOpaque(context)) return undefined;
      const demand = demandOf(challenges, context.repository);
      if (!demand && !challenges.some(({ scheme }) => scheme === "basic")) return undefined;
      const way: Known = demand ? { scheme: "bearer", demand } : { scheme: "basic" };
      const header = await headerOf(context, way, refused);
      known.set(keyOf(context), way);
      return header === refused ? undefined : header;
    },
  };
}
