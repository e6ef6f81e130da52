import { codeOf } from "@cache-registry/registry-client/failure";
import {
  createOrigin,
  dismiss,
  type OriginRequest,
  type OriginResponse,
  type OriginTrust,
} from "@cache-registry/registry-client/origin";
import { sleep } from "@cache-registry/runtime/backoff";

/** Why the cache gave no answer. `connect`: nobody is there. `broken`: the connection broke. `timeout`: it is too slow. */
export type CacheFailure = "connect" | "broken" | "timeout";

export class CacheUnavailableError extends Error {
  override readonly name = "CacheUnavailableError";
  readonly failure: CacheFailure;

  constructor(failure: CacheFailure, cause?: unknown) {
    super(`the cache is not available (${failure})`, { cause });
    this.failure = failure;
  }
}

/** Its body must be read or dismissed. */
export type CacheAnswer = OriginResponse;

export type CacheClient = {
  /** @throws CacheUnavailableError, or the signal's reason */
  ask(request: OriginRequest): Promise<CacheAnswer>;
  close(): Promise<void>;
};

/** A cold pull waits for the upstream; containerd gives up after 30 s. */
const HEADERS_TIMEOUT_MS = 25_000;
/** Without a byte in a body, until the upstream continues it. */
const IDLE_TIMEOUT_MS = 30_000;
/** No headers for so long: is the cache there at all? */
const PATIENCE_MS = 3_000;
const PROBE_TIMEOUT_MS = 2_000;

const NOBODY_THERE = new Set([
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "ECONNREFUSED",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "ERR_CONNECT_TIMEOUT",
  "ETIMEDOUT",
]);

function failureOf(error: unknown): CacheFailure {
  if (NOBODY_THERE.has(codeOf(error))) return "connect";
  return codeOf(error) === "ERR_HEADERS_TIMEOUT" ? "timeout" : "broken";
}

/** Times in milliseconds. */
export type CacheClientOptions = OriginTrust & {
  readonly url: string;
  readonly connectTimeout: number;
  readonly headersTimeout?: number | undefined;
  readonly idleTimeout?: number | undefined;
  readonly patience?: number | undefined;
};

/** Asks the cache. A slow answer is waited for as long as new connections are answered. */
export function createCacheClient(options: CacheClientOptions): CacheClient {
  const { url, connectTimeout, caFile, serverName, patience = PATIENCE_MS } = options;
  const { headersTimeout = HEADERS_TIMEOUT_MS, idleTimeout = IDLE_TIMEOUT_MS } = options;
  const server = { url, connectTimeout, caFile, serverName };
  const origin = createOrigin({ ...server, headersTimeout, idleTimeout });

  /** On a new connection, since those that are open may lead to a node that is gone. */
  async function isAlive(): Promise<boolean> {
    const timeout = PROBE_TIMEOUT_MS;
    const probe = createOrigin({ ...server, headersTimeout: timeout, idleTimeout: timeout });
    try {
      dismiss(await probe.send({ method: "GET", path: "/v2/", signal: AbortSignal.timeout(timeout) }));
      return true;
    } catch {
      return false;
    } finally {
      await probe.close();
    }
  }

  /** Ends the wait for headers when the cache does not answer others either. */
  async function watch(waiting: AbortSignal, gone: AbortController): Promise<void> {
    try {
      do await sleep(patience, waiting);
      while (await isAlive());
      gone.abort(new CacheUnavailableError("connect"));
    } catch {
      // The wait is over.
    }
  }

  async function send(request: OriginRequest): Promise<CacheAnswer> {
    const waiting = new AbortController();
    const gone = new AbortController();
    void watch(waiting.signal, gone);
    try {
      const signal = AbortSignal.any([request.signal, gone.signal]);
      return await origin.send({ ...request, signal });
    } catch (error) {
      request.signal.throwIfAborted();
      gone.signal.throwIfAborted();
      throw new CacheUnavailableError(failureOf(error), error);
    } finally {
      waiting.abort();
    }
  }

  return {
    async ask(request) {
      try {
        return await send(request);
      } catch (error) {
        // An idle connection that the cache closed while we were about to use it.
        if (error instanceof CacheUnavailableError && error.failure === "broken") return send(request);
        throw error;
      }
    },
    close: () => origin.close(),
  };
}
