import { codeOf } from "../failure.ts";
import { createRecentMap } from "../recent-map.ts";
import { UpstreamError } from "../upstream-error.ts";

/** Who is asked, with whose credentials, for what. */
export type EndpointKey = {
  readonly registry: string;
  readonly origin: string;
  /** Limits belong to an identity: empty for the configured one, else a digest of the caller's. */
  readonly identity: string;
  /** Blobs come from a storage elsewhere as a rule: one may fail without the other. */
  readonly resource: string;
};

/** One question that may be asked now; it is told how that went, once. */
export type Visit = {
  succeeded(): void;
  failed(error: UpstreamError): void;
  /** It went no way: the caller left. */
  abandoned(): void;
};

export type BlockReason = "rate-limit" | "failing";

export type EndpointMemory = {
  /** @throws UpstreamError at once, without asking, while the endpoint said 429 or fails again and again */
  enter(key: EndpointKey): Visit;
  /** How long an upstream is not asked, milliseconds; of several endpoints the longest. */
  blocked(): { readonly registry: string; readonly reason: BlockReason; readonly left: number }[];
  /** The time until which the configured identity must not ask a registry, by the clock of `now`. */
  limitedUntil(registry: string): number | undefined;
  /** The registry is reached in another way, or as somebody else: what the configured identity met before says nothing. */
  forget(registry: string): void;
};

/** Retry-After is believed up to here: an upstream's mistake must not cut us off for a day. */
export const MAX_PAUSE_MS = 3_600_000;
const MIN_PAUSE_MS = 1_000;
/** A failure is remembered for at most this long (DESIGN rule 6). */
const MAX_OPEN_MS = 10_000;
const FIRST_OPEN_MS = 1_000;
/** Failures in a row, of any question. */
const SERVER_FAILURES = 6;
const CONNECTION_FAILURES = 3;
const MAX_ENTRIES = 2_000;

/** Each of these takes as long as a time-out, so that the first is enough. */
const COSTLY = new Set([
  "EAI_AGAIN",
  "ERR_PROXY_TIMEOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
]);

type Block = {
  readonly registry: string;
  readonly identity: string;
  until: number;
  times: number;
  error: UpstreamError;
};
type Circuit = Block & { failures: number };

function thresholdOf(error: UpstreamError): number | undefined {
  if (error.kind === "server") return error.status === 503 && error.retryAfter !== undefined ? 1 : SERVER_FAILURES;
  if (error.kind !== "unreachable" && error.kind !== "timeout") return undefined;
  return COSTLY.has(codeOf(error.cause)) ? 1 : CONNECTION_FAILURES;
}

/** The endpoint has said nothing: it was our policy, our limit (`rate`), or credentials that we have not. */
function isOurs({ kind, status }: UpstreamError): boolean {
  return kind === "denied-by-policy" || (status === undefined && (kind === "rate-limited" || kind === "unauthorized"));
}

/** The same kind of failure again, without the status and cause that would make it worth a second try. */
function refusal({ error, until }: Block, now: number): UpstreamError {
  const { registry, kind } = error;
  const left = until - now;
  const why = error.message.replace(`${registry}: `, "");
  const retryAfter = kind === "rate-limited" ? left : undefined;
  return new UpstreamError(`${why}; it is not asked for another ${Math.ceil(left / 1000)} s`, {
    kind,
    registry,
    retryAfter,
    remembered: true,
  });
}

/**
 * What endpoints did lately: one that said 429 is left alone for as long as it said, and of one that fails not every
 * request waits for the time-out. Once the time is over one question at a time tries it again.
 */
export function createEndpointMemory({ now = () => performance.now() } = {}): EndpointMemory {
  const pauses = createRecentMap<string, Block>(MAX_ENTRIES);
  const circuits = createRecentMap<string, Circuit>(MAX_ENTRIES);

  function pause(key: string, { registry, identity }: EndpointKey, error: UpstreamError): void {
    const known = pauses.get(key);
    const times = (known?.times ?? 0) + 1;
    const wait = error.retryAfter ?? Math.min(MAX_OPEN_MS, FIRST_OPEN_MS * 2 ** Math.min(times - 1, 10));
    const until = now() + Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, wait));
    pauses.set(key, { registry, identity, times, error, until: Math.max(until, known?.until ?? 0) });
  }

  function countFailure(key: string, { registry, identity }: EndpointKey, error: UpstreamError, trial: boolean): void {
    const threshold = thresholdOf(error);
    if (threshold === undefined) return;
    const circuit = circuits.get(key) ?? { registry, identity, until: 0, times: 0, failures: 0, error };
    // What was under way when it opened says nothing new.
    if (circuit.until > now() && !trial) return;
    circuit.failures += 1;
    circuit.error = error;
    if (trial || circuit.failures >= threshold) {
      const wait = error.retryAfter ?? FIRST_OPEN_MS * 2 ** Math.min(circuit.times, 10);
      circuit.until = now() + Math.min(MAX_OPEN_MS, Math.max(FIRST_OPEN_MS, wait));
      circuit.times += 1;
    }
    circuits.set(key, circuit);
  }

  return {
    enter(who) {
      const pauseKey = JSON.stringify([who.registry, who.origin, who.identity]);
      const circuitKey = JSON.stringify([pauseKey, who.resource]);
      const paused = pauses.get(pauseKey);
      if (paused && paused.until > now()) throw refusal(paused, now());
      const circuit = circuits.get(circuitKey);
      if (circuit && circuit.until > now()) throw refusal(circuit, now());
      const trial = circuit !== undefined && circuit.until > 0;
      // One tries it; should that one hang, another may after the same time again.
      if (trial) circuit.until = now() + Math.min(MAX_OPEN_MS, FIRST_OPEN_MS * 2 ** circuit.times);
      return {
        succeeded() {
          circuits.delete(circuitKey);
          if ((pauses.get(pauseKey)?.until ?? 0) <= now()) pauses.delete(pauseKey);
        },
        failed(error) {
          if (isOurs(error)) return this.abandoned();
          if (thresholdOf(error) !== undefined) return countFailure(circuitKey, who, error, trial);
          // Any other answer is one: it is there.
          if (error.kind !== "rate-limited") return this.succeeded();
          circuits.delete(circuitKey);
          pause(pauseKey, who, error);
        },
        abandoned() {
          if (trial && circuits.get(circuitKey) === circuit) circuit.until = Math.min(circuit.until, now());
        },
      };
    },
    blocked() {
      const of = (reason: BlockReason, blocks: Iterable<Block>) =>
        [...blocks]
          .map(({ registry, until }) => ({ registry, reason, left: until - now() }))
          .filter(({ left }) => left > 0);
      return [...of("rate-limit", pauses.values()), ...of("failing", circuits.values())];
    },
    limitedUntil(registry) {
      const untils = [...pauses.values()]
        .filter((block) => block.registry === registry && block.identity === "" && block.until > now())
        .map(({ until }) => until);
      return untils.length > 0 ? Math.max(...untils) : undefined;
    },
    forget(registry) {
      const reset = { until: 0, times: 0 };
      for (const block of [...pauses.values(), ...circuits.values()]) {
        if (block.registry === registry && block.identity === "") Object.assign(block, reset);
      }
    },
  };
}
