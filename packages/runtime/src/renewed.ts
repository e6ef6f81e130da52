import { createSingleFlight } from "./single-flight.ts";

export type Lasting<Value> = {
  readonly value: Value;
  /** Milliseconds that it is valid from the moment it was asked for. */
  readonly lifetime: number;
};

export type RenewedOptions<Value> = {
  /** Must end by itself: it goes on when every waiter has left. */
  readonly obtain: () => Promise<Lasting<Value>>;
  /** Milliseconds; monotonic, so that no clock but our own counts. */
  readonly now?: () => number;
  /** Told of each failure; while something valid is held, nobody else is. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
};

/** A value that expires, such as a token: held, renewed before its end, by one call at a time. */
export type Renewed<Value> = {
  /** @throws what `obtain` throws, once nothing valid is held any more, or the signal's reason */
  get(signal?: AbortSignal): Promise<Value>;
  /** It was refused although it should be valid: the next `get` obtains another, unless it is very new. */
  refuse(value: Value): void;
};

const MAX_MARGIN_MS = 5 * 60_000;
/** With less than this left a caller waits for the renewal; with more it goes on with what is held. */
const MAX_WAIT_MS = 60_000;
/** It must still be valid when it arrives. */
const LAST_SECONDS_MS = 10_000;
/** Whoever just failed is not asked again by every caller. */
const FAILURE_MS = 5_000;
/** What is refused so soon would be refused again: a wrong one, not an old one. */
const MIN_AGE_MS = 10_000;

type Held<Value> = { readonly value: Value; readonly since: number; readonly lifetime: number };

/** How long before its end a value is renewed, waited for, and not used any more. Shorter where it lives shortly. */
const early = (lifetime: number): number => Math.min(MAX_MARGIN_MS, lifetime / 10);
const late = (lifetime: number): number => Math.max(last(lifetime), Math.min(MAX_WAIT_MS, lifetime / 20));
const last = (lifetime: number): number => Math.min(LAST_SECONDS_MS, lifetime / 10);

export function createRenewed<Value>(options: RenewedOptions<Value>): Renewed<Value> {
  const { obtain, now = () => performance.now(), onFailure } = options;
  const flights = createSingleFlight<Value>();
  let held: Held<Value> | undefined;
  let failed: { readonly error: unknown; readonly until: number } | undefined;

  async function renew(): Promise<Value> {
    if (failed && now() < failed.until) throw failed.error;
    const since = now();
    try {
      held = { ...(await obtain()), since };
      failed = undefined;
      return held.value;
    } catch (error) {
      failed = { error, until: now() + FAILURE_MS };
      onFailure?.(error);
      throw error;
    }
  }

  function isValid(margin: (lifetime: number) => number): boolean {
    return held !== undefined && now() < held.since + held.lifetime - margin(held.lifetime);
  }

  return {
    async get(signal) {
      if (held && isValid(early)) return held.value;
      if (held && isValid(late)) {
        flights.run("", renew).catch(() => undefined);
        return held.value;
      }
      try {
        return await flights.run("", renew, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (held && isValid(last)) return held.value;
        throw error;
      }
    },
    refuse(value) {
      if (held?.value === value && now() - held.since >= MIN_AGE_MS) held = undefined;
    },
  };
}
