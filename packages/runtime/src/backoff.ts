import { setTimeout as delay } from "node:timers/promises";

export type BackoffOptions = {
  /** Milliseconds of the first delay, before jitter. */
  readonly initial: number;
  /** Upper bound in milliseconds. */
  readonly max: number;
  readonly factor?: number;
  /** Share of each delay, 0 to 1, that is taken away at random so that many clients do not come back together. */
  readonly jitter?: number;
  /** For tests: as Math.random. */
  readonly random?: () => number;
};

export type Backoff = {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  /** After a success: the next delay is the first again. */
  reset(): void;
  /** Delays given since the last reset. */
  readonly attempts: number;
};

export function createBackoff(options: BackoffOptions): Backoff {
  const { initial, max, factor = 2, jitter = 0.2, random = Math.random } = options;
  let attempts = 0;
  return {
    next() {
      const full = Math.min(max, initial * factor ** attempts);
      attempts += 1;
      return Math.round(full * (1 - jitter * random()));
    },
    reset() {
      attempts = 0;
    },
    get attempts() {
      return attempts;
    },
  };
}

/** Waits. @throws the signal's reason, at once when it is aborted */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  try {
    await delay(milliseconds, undefined, signal ? { signal } : undefined);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
