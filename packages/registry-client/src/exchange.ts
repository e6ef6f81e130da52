import type { Logger } from "@cache-registry/runtime/logger";
import type { Priority, Urgency } from "@cache-registry/runtime/wait-queue";
import type { Authorizer } from "./authorizer.ts";
import { discard, headerOf } from "./body.ts";
import { parseChallenges } from "./challenge.ts";
import { failureAtPart, failureOf, failureOfStatus } from "./failure.ts";
import { redactUrl } from "./redact.ts";
import { isRedirect, MAX_REDIRECTS, redirectedHeaders, redirectTarget } from "./redirect.ts";
import type { Traffic } from "./traffic/traffic.ts";
import type { Transport, TransportResponse } from "./transport.ts";
import type { Upstream } from "./upstream.ts";
import { UpstreamError } from "./upstream-error.ts";

export type ExchangeRequest = {
  readonly upstream: Upstream;
  readonly endpoint: URL;
  readonly repository: string;
  /** Below `/v2/<repository>/`: `manifests/latest`. */
  readonly resource: string;
  readonly method: "GET" | "HEAD";
  readonly headers: Readonly<Record<string, string>>;
  /** The caller's own `Authorization` for this upstream. */
  readonly authorization?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly priority?: Priority | Urgency | undefined;
};

/** One question to one endpoint, with authentication and redirects. */
export type Exchange = {
  /** The answer with its status as it is below 400. @throws UpstreamError for 400 and above, or the signal's reason */
  ask(request: ExchangeRequest): Promise<TransportResponse>;
};

type Hop = { readonly url: URL; readonly headers: Readonly<Record<string, string>> };

function urlOf({ endpoint, repository, resource }: ExchangeRequest): URL {
  return new URL(`${endpoint.href.replace(/\/$/, "")}/v2/${repository}/${resource}`);
}

export type ExchangeOptions = {
  readonly transport: Transport;
  readonly authorizer: Authorizer;
  readonly traffic: Traffic;
  readonly logger: Logger;
};

export function createExchange({ transport, authorizer, traffic, logger }: ExchangeOptions): Exchange {
  async function send(request: ExchangeRequest, { url, headers }: Hop): Promise<TransportResponse> {
    const { upstream, endpoint, method, signal, priority } = request;
    const limited = url.origin === endpoint.origin;
    if (limited) await traffic.turn(upstream, { signal, priority });
    try {
      const response = await transport.send({ upstream, url, method, headers, signal });
      if (limited) traffic.observe(request, response.headers);
      return response;
    } catch (error) {
      signal?.throwIfAborted();
      const failure = failureOf(error, upstream.registry);
      throw url.host === endpoint.host ? failure : failureAtPart(failure, `${url.host}, to which it redirects`);
    }
  }

  /** Asks the endpoint itself; a 401 is answered once. */
  async function authenticate(request: ExchangeRequest): Promise<{ response: TransportResponse; hop: Hop }> {
    const url = urlOf(request);
    const withHeader = (authorization: string | undefined): Hop => ({
      url,
      headers: authorization === undefined ? request.headers : { ...request.headers, authorization },
    });
    const prepared = await authorizer.prepare(request);
    const hop = withHeader(prepared);
    const response = await send(request, hop);
    if (response.statusCode !== 401) return { response, hop };

    const challenges = parseChallenges(response.headers["www-authenticate"]);
    const header = await authorizer.answer(request, challenges, prepared).catch(async (error: unknown) => {
      // A body that nobody reads keeps its connection.
      await discard(response);
      throw error;
    });
    if (header === undefined) return { response, hop };
    await discard(response);
    const second = withHeader(header);
    return { response: await send(request, second), hop: second };
  }

  async function follow(
    request: ExchangeRequest,
    first: { response: TransportResponse; hop: Hop },
  ): Promise<TransportResponse> {
    const { registry } = request.upstream;
    let { response, hop } = first;
    for (let hops = 0; isRedirect(response.statusCode); hops += 1) {
      await discard(response);
      if (hops >= MAX_REDIRECTS) throw new UpstreamError("redirects too often", { kind: "invalid", registry });
      const url = redirectTarget(hop.url, headerOf(response.headers, "location"), registry);
      logger.debug({ upstream: registry, url: redactUrl(url) }, "upstream redirects");
      hop = { url, headers: redirectedHeaders(hop.url, url, hop.headers) };
      response = await send(request, hop);
    }
    if (response.statusCode < 400) return response;
    await discard(response);
    throw failureAt(response, { first: first.hop, last: hop, registry });
  }

  return {
    async ask(request) {
      const first = await authenticate(request);
      return follow(request, first);
    },
  };
}

type Asked = { readonly first: Hop; readonly last: Hop; readonly registry: string };

function failureAt({ statusCode, headers }: TransportResponse, { first, last, registry }: Asked): UpstreamError {
  const failure = failureOfStatus({ registry, status: statusCode, retryAfter: headerOf(headers, "retry-after") });
  if (failure.kind !== "unauthorized") return failure;
  if (first.url.origin === last.url.origin) {
    const refused = statusCode === 401 && first.headers.authorization?.startsWith("Basic ");
    if (!refused) return failure;
    const { kind } = failure;
    return new UpstreamError("refuses the credentials (401)", { kind, registry, status: 401, ofCredentials: true });
  }
  // The registry let us in and sent us on; that its storage refuses its signature is the registry's failure.
  return new UpstreamError(`its storage answered ${statusCode}`, { kind: "server", registry, status: statusCode });
}
