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
};

/** A value that expires, such as a token: held, renewed before its end, by one call at a time. */
export type Renewed<Value> = {
  /** @throws what `obtain` throws, once nothing valid is held any more, or the signal's reason */
  get(signal?: AbortSignal): Promise<Value>;
  /** It was refused although it should be valid: the next `get` obtains another, unless it is very new. */
  refuse(value: Value): void;
};

const MAX_MARGIN_MS = 5 * 60_000;
/** It must still be valid when it arrives. */
const LAST_SECONDS_MS = 10_000;
/** Whoever just failed is not asked again by every caller. */
const FAILURE_MS = 5_000;
/** What is refused so soon would be refused again: a wrong one, not an old one. */
const MIN_AGE_MS = 10_000;

type Held<Value> = { readonly value: Value; readonly since: number; readonly lifetime: number };

export function createRenewed<Value>({ obtain, now = () => performance.now() }: RenewedOptions<Value>): Renewed<Value> {
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
      throw error;
    }
  }

  function isValid(margin: (lifetime: number) => number): boolean {
    return held !== undefined && now() < held.since + held.lifetime - margin(held.lifetime);
  }

  return {
    async get(signal) {
      const early = (lifetime: number): number => Math.min(MAX_MARGIN_MS, lifetime / 10);
      if (held && isValid(early)) return held.value;
      try {
        return await flights.run("", renew, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (held && isValid((lifetime) => Math.min(LAST_SECONDS_MS, lifetime / 10))) return held.value;
        throw error;
      }
    },
    refuse(value) {
      if (held?.value === value && now() - held.since >= MIN_AGE_MS) held = undefined;
    },
  };
}
