import { isDigest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { assertDigest } from "@cache-registry/core/verify";
import { headerOf, readCapped } from "@cache-registry/registry-client/body";
import { dismiss } from "@cache-registry/registry-client/origin";
import { type Answer, bodyOf, type ContentRequest } from "./answer.ts";
import { isForCache } from "./authorization.ts";
import { placeOf } from "./blob-sources.ts";
import { type CacheAnswer, type CacheClient, CacheUnavailableError } from "./cache-client.ts";
import { cachePath } from "./cache-path.ts";
import type { CircuitBreaker } from "./circuit-breaker.ts";
import type { Continuation } from "./continuation.ts";
import { endToEnd, type HeaderValues, headersForCache } from "./headers.ts";

/** Why the cache is passed by; a metric's label. */
export type PassedBy = "open" | "connect" | "broken" | "timeout" | "server" | "rate-limited" | "not-found" | "invalid";

/** The reason to go on to the upstream; undefined: it is the answer. DESIGN §4, the fail-over table. */
export function reasonToPassBy(status: number): PassedBy | undefined {
  if (status >= 500) return "server";
  if (status === 429) return "rate-limited";
  return status === 404 ? "not-found" : undefined;
}

/** It is not there, and the cache did not get it from the upstream either. All else leaves open what the cache holds. */
const HOLDS_NOTHING = new Set([404, 502, 504]);

export type PassedOver = {
  readonly passedBy: PassedBy;
  /** The cache did not say whether it holds this. */
  readonly silent: boolean;
};

export type CachedAnswers = {
  /**
   * `final`: there is nobody else to ask, so whatever the cache answers is the answer.
   * @throws the signal's reason
   */
  get(request: ContentRequest, final: boolean): Promise<{ readonly answer: Answer } | PassedOver>;
};

export type CachedAnswersOptions = {
  readonly cache: CacheClient;
  readonly breaker: CircuitBreaker;
  readonly continuation: Continuation;
};

/**
 * A manifest is read before it is passed on: it is small, and another source may be asked as long as nothing was sent.
 * @throws Error when it is cut, too long or not what its digest says
 */
async function readManifest({ body, headers }: CacheAnswer, reference: string): Promise<Buffer> {
  const bytes = await readCapped(body, { bytes: MAX_MANIFEST_BYTES });
  const announced = headerOf(headers, "content-length");
  if (announced !== undefined && Number(announced) !== bytes.length) throw new Error("the manifest ended early");
  if (isDigest(reference)) assertDigest(bytes, reference);
  return bytes;
}

/**
 * The cache's challenge is none to a client that asks for another registry: its answer would be the credentials of that
 * one. Without a challenge containerd goes there by itself.
 */
function headersFor(request: ContentRequest, answer: CacheAnswer): HeaderValues {
  const { "www-authenticate": challenge, ...headers } = endToEnd(answer.headers);
  return challenge !== undefined && isForCache(request) ? { ...headers, "www-authenticate": challenge } : headers;
}

export function createCachedAnswers({ cache, breaker, continuation }: CachedAnswersOptions): CachedAnswers {
  async function ask(request: ContentRequest): Promise<CacheAnswer> {
    const { method, resource, target, query, signal } = request;
    const path = cachePath(resource, target, query);
    try {
      const headers = headersForCache(request.headers, isForCache(request));
      const answer = await cache.ask({ method, path, headers, signal });
      breaker.succeeded();
      return answer;
    } catch (error) {
      if (error instanceof CacheUnavailableError && error.failure === "connect") breaker.failed();
      throw error;
    }
  }

  async function passOn(request: ContentRequest, answer: CacheAnswer): Promise<Answer> {
    const { method, resource } = request;
    const { statusCode: status, body } = answer;
    const headers = headersFor(request, answer);
    if (method === "HEAD" || status === 304) {
      dismiss(answer);
      return { status, headers };
    }
    if (resource.kind === "manifest" && status === 200) {
      const bytes = await readManifest(answer, resource.reference);
      return { status, headers: { ...headers, "content-length": String(bytes.length) }, body: bodyOf(bytes) };
    }
    const place = resource.kind === "blob" ? placeOf(answer) : undefined;
    if (!place) return { status, headers, body };
    const first = { offset: place.start, size: place.size, stream: body, source: "cache" } as const;
    return { status, headers, body: continuation.body(request, first, place) };
  }

  return {
    async get(request, final) {
      try {
        const answer = await ask(request);
        const passedBy = reasonToPassBy(answer.statusCode);
        if (passedBy === undefined || final) return { answer: await passOn(request, answer) };
        dismiss(answer);
        return { passedBy, silent: !HOLDS_NOTHING.has(answer.statusCode) };
      } catch (error) {
        request.signal.throwIfAborted();
        return { passedBy: error instanceof CacheUnavailableError ? error.failure : "invalid", silent: true };
      }
    },
  };
}
