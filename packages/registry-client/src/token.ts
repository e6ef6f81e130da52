import { createHash } from "node:crypto";
import { parseJson } from "@cache-registry/core/json";
import type { Logger } from "@cache-registry/runtime/logger";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import { z } from "zod";
import { readCapped } from "./body.ts";
import { type BasicIdentity, basicAuthorization, type Identity } from "./credentials/identity.ts";
import { failureAtPart, failureOf, failureOfStatus } from "./failure.ts";
import { judgeRealm } from "./realm.ts";
import { createRecentMap } from "./recent-map.ts";
import type { Transport, TransportRequest } from "./transport.ts";
import type { Upstream } from "./upstream.ts";
import { UpstreamError } from "./upstream-error.ts";

/** Distribution token specification: a token without `expires_in` lives for 60 s. */
const DEFAULT_LIFETIME_S = 60;
const MAX_LIFETIME_S = 24 * 3600;
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_TOKENS = 2000;
const CLIENT_ID = "cache-registry";
/** Name, connection, answer and body of one token request together. */
const FETCH_TIMEOUT_MS = 30_000;

const TokenText = z
  .string()
  .min(1)
  .max(64 * 1024)
  // RFC 6750 §2.1; also keeps line breaks out of our header.
  .regex(/^[A-Za-z0-9._~+/-]+=*$/);

const TokenAnswer = z.object({
  token: TokenText.optional().catch(undefined),
  access_token: TokenText.optional().catch(undefined),
  expires_in: z
    .number()
    .positive()
    .transform((seconds) => Math.min(seconds, MAX_LIFETIME_S))
    .catch(DEFAULT_LIFETIME_S),
});

/** What a bearer challenge asks for. */
export type TokenDemand = {
  readonly realm: string;
  readonly service: string | undefined;
  /** Sorted. */
  readonly scopes: readonly string[];
};

/** What a token service can be shown. */
export type Exchangeable = Extract<Identity, { kind: "basic" | "identity-token" }>;

export type TokenRequest = {
  readonly upstream: Upstream;
  /** The endpoint that gave the challenge. */
  readonly endpoint: URL;
  readonly demand: TokenDemand;
  /** Undefined: anonymous. */
  readonly identity: Exchangeable | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type TokenSource = {
  /** A held token, or a new one; callers that want the same one share one request. @throws UpstreamError */
  get(request: TokenRequest): Promise<string>;
  /** Drops a held token that was refused. */
  forget(request: TokenRequest): void;
};

export type TokenSourceOptions = {
  readonly transport: Transport;
  readonly logger: Logger;
  /** Milliseconds; monotonic. */
  readonly now?: () => number;
};

/** Only a hash is kept, so that no old secret stays in memory for its tokens' sake. */
function fingerprint(identity: Exchangeable): string {
  const secrets = identity.kind === "basic" ? [identity.username, identity.password] : [identity.token];
  return createHash("sha256")
    .update(JSON.stringify([identity.kind, ...secrets]))
    .digest("base64");
}

function keyOf({ upstream, endpoint, demand, identity }: TokenRequest): string {
  const who = identity ? fingerprint(identity) : "anonymous";
  return JSON.stringify([upstream.registry, endpoint.origin, demand.realm, demand.service, demand.scopes, who]);
}

type Ask = Pick<TransportRequest, "url" | "method" | "headers" | "body">;

const COMMON_HEADERS = { accept: "application/json", "accept-encoding": "identity" };

/** Distribution token specification: GET, with a password or anonymously. */
function getRequest(realm: URL, { service, scopes }: TokenDemand, basic: BasicIdentity | undefined): Ask {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  const authorization = basic && { authorization: basicAuthorization(basic) };
  return { url, method: "GET", headers: { ...COMMON_HEADERS, ...authorization } };
}

/** Distribution token specification, OAuth2: the refresh token in the body of a POST. */
function postRequest(realm: URL, { service, scopes }: TokenDemand, refreshToken: string): Ask {
  const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: refreshToken, client_id: CLIENT_ID });
  if (service !== undefined) form.set("service", service);
  form.set("scope", scopes.join(" "));
  const headers = { ...COMMON_HEADERS, "content-type": "application/x-www-form-urlencoded" };
  return { url: realm, method: "POST", headers, body: form.toString() };
}

/** Spares a token its last seconds: it must still be valid when it arrives. */
function usableMilliseconds(seconds: number): number {
  return seconds * 1000 - Math.min(10_000, seconds * 100);
}

/** Bearer tokens by distribution's token specification, kept per realm, service, scopes and identity. */
export function createTokenSource(options: TokenSourceOptions): TokenSource {
  const { transport, logger, now = () => performance.now() } = options;
  const held = createRecentMap<string, { readonly token: string; readonly expires: number }>(MAX_TOKENS);
  const flights = createSingleFlight<string>();

  function requestOf({ upstream, endpoint, demand, identity }: TokenRequest): Ask {
    const { url, trusted } = judgeRealm(demand.realm, endpoint, upstream.tokenHosts);
    if (!url) {
      throw new UpstreamError("its token service is refused", { kind: "invalid", registry: upstream.registry });
    }
    if (identity && !trusted) {
      logger.warn(
        { upstream: upstream.registry, realm: url.host },
        "token service outside the registry's domain: asked anonymously, as it is not among tokenHosts",
      );
    }
    const shown = trusted ? identity : undefined;
    return shown?.kind === "identity-token" ? postRequest(url, demand, shown.token) : getRequest(url, demand, shown);
  }

  async function ask(request: TokenRequest): Promise<{ status: number; retryAfter: string | undefined; body: Buffer }> {
    const { upstream } = request;
    const asked = requestOf(request);
    const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
    try {
      const response = await transport.send({ upstream, ...asked, signal });
      const body = await readCapped(response.body, { bytes: MAX_ANSWER_BYTES });
      const retryAfter = response.headers["retry-after"];
      return { status: response.statusCode, retryAfter: typeof retryAfter === "string" ? retryAfter : undefined, body };
    } catch (error) {
      if (!signal.aborted) throw atService(failureOf(error, upstream.registry), asked.url);
      throw new UpstreamError("its token service took too long", { kind: "timeout", registry: upstream.registry });
    }
  }

  async function fetchToken(request: TokenRequest, key: string): Promise<string> {
    const { registry } = request.upstream;
    const asked = now();
    const { status, retryAfter, body } = await ask(request);
    if (status !== 200) {
      const failure = failureOfStatus({ registry, status, retryAfter });
      if (failure.kind === "unauthorized" && request.identity) throw credentialsRefused(request, status);
      if (failure.kind !== "not-found" && failure.kind !== "invalid") throw atService(failure, request.demand.realm);
      // A 404 or 400 of the token service says nothing about the content.
      throw new UpstreamError(`its token service answered ${status}`, { kind: "unauthorized", registry, status });
    }
    const answer = TokenAnswer.safeParse(parseJson(body.toString("utf8")));
    const token = answer.data?.token ?? answer.data?.access_token;
    if (!answer.data || token === undefined) {
      throw new UpstreamError("its token service gave no token", { kind: "invalid", registry });
    }
    held.set(key, { token, expires: asked + usableMilliseconds(answer.data.expires_in) });
    return token;
  }

  return {
    async get(request) {
      const key = keyOf(request);
      const entry = held.get(key);
      if (entry && entry.expires > now()) return entry.token;
      return flights.run(key, () => fetchToken(request, key), request.signal);
    },
    forget(request) {
      held.delete(keyOf(request));
    },
  };
}

function atService(failure: UpstreamError, url: URL | string): UpstreamError {
  return failureAtPart(failure, `its token service ${new URL(url).host}`);
}

function credentialsRefused({ upstream, endpoint, demand }: TokenRequest, status: number): UpstreamError {
  const { registry, tokenHosts } = upstream;
  const { url, trusted } = judgeRealm(demand.realm, endpoint, tokenHosts);
  const message = trusted
    ? `its token service refuses the credentials (${status})`
    : `its token service ${url?.host} is not among tokenHosts: asked without credentials it refuses (${status})`;
  return new UpstreamError(message, { kind: "unauthorized", registry, status, ofCredentials: true });
}
