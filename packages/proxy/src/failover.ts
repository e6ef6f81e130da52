import { CodedError } from "@cache-registry/core/errors";
import type { UpstreamTarget } from "@cache-registry/registry-client/target";
import { isUpstreamError, type UpstreamError } from "@cache-registry/registry-client/upstream-error";
import type { Logger } from "@cache-registry/runtime/logger";
import { type Answer, type ContentRequest, isForUpstream } from "./answer.ts";
import type { CachedAnswers, PassedBy, PassedOver } from "./cached-answer.ts";
import type { CircuitBreaker } from "./circuit-breaker.ts";
import type { ProxyMetrics } from "./metrics.ts";
import { createSilence } from "./silence.ts";
import { isUntrusted } from "./untrusted.ts";
import type { UpstreamAnswers } from "./upstream-answer.ts";

export type Failover = {
  /** The cache's answer, or the upstream's where the table of DESIGN §4 says so. @throws CodedError */
  answer(request: ContentRequest): Promise<Answer>;
};

export type FailoverOptions = {
  readonly cached: CachedAnswers;
  readonly upstream: UpstreamAnswers;
  readonly breaker: CircuitBreaker;
  readonly metrics: ProxyMetrics;
  readonly logger: Logger;
};

type ToUpstream = ContentRequest<UpstreamTarget>;

export function createFailover({ cached, upstream, breaker, metrics, logger }: FailoverOptions): Failover {
  const silence = createSilence();

  async function fromCache(request: ToUpstream): ReturnType<CachedAnswers["get"]> {
    const result = await cached.get(request, false);
    if ("answer" in result || !result.silent) silence.broken();
    return result;
  }

  /** What the cache alone can answer: its own repositories, and lists. */
  async function fromCacheAlone(request: ContentRequest): Promise<Answer> {
    const result = await cached.get(request, true);
    if ("answer" in result) return result.answer;
    metrics.passedBy(result.passedBy);
    const headers = { "retry-after": "1" };
    throw new CodedError("UNAVAILABLE", "the cache is not available, and nobody else can answer this", { headers });
  }

  async function fromUpstream(request: ToUpstream): Promise<Answer> {
    const { resource } = request;
    if (resource.kind === "blob") return upstream.blob(request, resource.digest);
    if (resource.kind === "manifest") return upstream.manifest(request, resource.reference);
    return fromCacheAlone(request);
  }

  async function fromEither(request: ToUpstream): Promise<Answer> {
    const first = breaker.allows() ? await fromCache(request) : ({ passedBy: "open", silent: true } as const);
    if ("answer" in first) return first.answer;
    metrics.passedBy(first.passedBy);
    const { registry, repository } = request.target;
    logger.info({ registry, repository, reason: first.passedBy }, "asking the upstream instead of the cache");
    try {
      return await fromUpstream(request);
    } catch (error) {
      request.signal.throwIfAborted();
      if (!isUpstreamError(error)) throw error;
      logger.warn({ registry, repository, kind: error.kind, status: error.status }, "the upstream did not help");
      // The cache may be back since the circuit opened.
      const second = first.passedBy === "open" ? await fromCache(request) : first;
      if ("answer" in second) return second.answer;
      if (second.silent && isRefusal(error) && !request.target.byNamespace && silence.lasts())
        throw notNow(error, second.passedBy);
      throw refusalOf(error, request, second);
    }
  }

  return {
    answer: async (request) =>
      isForUpstream(request) && request.resource.kind !== "listing" ? fromEither(request) : fromCacheAlone(request),
  };
}

function isRefusal({ kind }: UpstreamError): boolean {
  return kind === "not-found" || kind === "unauthorized";
}

/**
 * The cache may hold what its upstream has deleted, or gives only to the cache's credentials. A refusal would be taken for
 * the last word: the controllers give such a pod its original image back, for good. So the kubelet shall try again. (In
 * mirror mode it is for containerd to go on.)
 */
function notNow({ registry, kind }: UpstreamError, cache: PassedBy): CodedError {
  const detail = { upstream: registry, kind, cache };
  const headers = { "retry-after": "5" };
  return new CodedError("UNAVAILABLE", "the cache is not available, and the upstream has no answer for this node", {
    detail,
    headers,
  });
}

/** What the client is told when neither the cache nor the upstream has it. */
function refusalOf(
  error: UpstreamError,
  { resource }: ToUpstream,
  { passedBy: cache, silent }: PassedOver,
): CodedError {
  const options = { cause: error, detail: { upstream: error.registry, kind: error.kind, cache } };
  // Said as a refusal, the controllers give such pods their original image back, and the node asks as it was told to. Not
  // while the cache is away: it may be the one that was told.
  if (isUntrusted(error) && !silent) {
    const hint =
      "the node may know how to ask it; for the cache, say it in upstreams (tls.caFile, or an http:// endpoint)";
    return new CodedError("DENIED", `${error.message}; ${hint}`, options);
  }
  switch (error.kind) {
    case "not-found":
      return new CodedError(resource.kind === "blob" ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", error.message, options);
    case "unauthorized":
      return new CodedError(error.status === 403 ? "DENIED" : "UNAUTHORIZED", error.message, options);
    case "rate-limited": {
      const headers = { "retry-after": String(Math.max(1, Math.ceil((error.retryAfter ?? 0) / 1000))) };
      return new CodedError("TOOMANYREQUESTS", error.message, { ...options, headers });
    }
    case "timeout":
      return new CodedError("UPSTREAM_FAILED", error.message, { ...options, status: 504 });
    default:
      return new CodedError("UPSTREAM_FAILED", error.message, options);
  }
}
