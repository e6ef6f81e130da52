import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import { codeOf } from "./failure.ts";
import { isUpstreamError, type UpstreamError } from "./upstream-error.ts";

/** Only GET and HEAD are sent, so every request may be repeated. */
const ATTEMPTS_PER_ENDPOINT = 2;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 500;

/** Of an idle connection that the server closed while we were about to use it: a new one helps at once. */
const BROKEN_CONNECTION = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

/** Is the same endpoint worth a second try? A name that does not exist or a time-out will not be better soon. */
export function isWorthRepeating(error: UpstreamError): boolean {
  // An upstream that says when to come back is left alone until then.
  if (error.kind === "server") return error.status === 502 || (error.status === 503 && error.retryAfter === undefined);
  if (error.kind === "timeout") return error.status === 504;
  return (
    error.kind === "unreachable" &&
    (codeOf(error.cause) === "ECONNREFUSED" || BROKEN_CONNECTION.has(codeOf(error.cause)))
  );
}

/** Is the next endpoint worth a try? Yes where this one failed; no where it gave an answer about the content. */
export function isWorthAnotherEndpoint(error: UpstreamError): boolean {
  return ["unreachable", "timeout", "server", "rate-limited"].includes(error.kind);
}

export type Tries<Value> = {
  readonly endpoints: readonly string[];
  readonly task: (endpoint: URL) => Promise<Value>;
  /** Whatever one says, the next is tried. */
  readonly untilLast?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Told of every failure, also of those that another try makes good. */
  readonly onFailure?: (endpoint: URL, error: UpstreamError) => void;
};

async function tryEndpoint<Value>(endpoint: URL, { task, signal, onFailure }: Tries<Value>): Promise<Value> {
  const backoff = createBackoff({ initial: FIRST_DELAY_MS, max: MAX_DELAY_MS, jitter: 0.5 });
  for (;;) {
    try {
      return await task(endpoint);
    } catch (error) {
      if (!isUpstreamError(error)) throw error;
      onFailure?.(endpoint, error);
      const last = backoff.attempts + 1 >= ATTEMPTS_PER_ENDPOINT;
      if (last || !isWorthRepeating(error)) throw error;
      const delay = backoff.next();
      await sleep(BROKEN_CONNECTION.has(codeOf(error.cause)) ? 0 : delay, signal);
    }
  }
}

/** To a client these are "not here", which is not for one endpoint to say while a better one only asks for patience. */
function isAbsence(error: UpstreamError): boolean {
  return ["not-found", "unauthorized", "denied-by-policy"].includes(error.kind);
}

/** Tries the endpoints in order. @throws UpstreamError of the last one tried (429 before absence), or the signal's reason */
export async function tryEndpoints<Value>(tries: Tries<Value>): Promise<Value> {
  let failure: unknown = new Error("an upstream has no endpoints");
  let limited: UpstreamError | undefined;
  for (const endpoint of tries.endpoints) {
    tries.signal?.throwIfAborted();
    try {
      return await tryEndpoint(new URL(endpoint), tries);
    } catch (error) {
      failure = error;
      if (!isUpstreamError(error)) throw error;
      if (error.kind === "rate-limited") limited ??= error;
      if (tries.untilLast) continue;
      if (limited && isAbsence(error)) throw limited;
      if (!isWorthAnotherEndpoint(error)) throw error;
    }
  }
  throw failure;
}
