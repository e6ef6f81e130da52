import { createWaitQueue, type WaitOptions } from "@cache-registry/runtime/wait-queue";

export type RateLimiter = {
  /** Waits for the turn of one request. @throws the signal's reason */
  take(options?: WaitOptions): Promise<void>;
  readonly waiting: number;
};

export type RateLimiterOptions = {
  /** Requests per second. */
  readonly rate: number;
  /** Milliseconds; monotonic. */
  readonly now?: () => number;
};

const MAX_TIMER_MS = 60_000;

/** A token bucket that holds one second's worth, at least one token. Foreground takes before background. */
export function createRateLimiter({ rate, now = () => performance.now() }: RateLimiterOptions): RateLimiter {
  const capacity = Math.max(1, rate);
  const queue = createWaitQueue();
  let tokens = capacity;
  let filledAt = now();
  let scheduled = false;

  function fill(): void {
    const at = now();
    tokens = Math.min(capacity, tokens + ((at - filledAt) / 1000) * rate);
    filledAt = at;
  }

  /** Wakes when the next token is there. */
  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    const wait = Math.ceil(((1 - tokens) / rate) * 1000);
    // Longer than a timer can would be no wait at all.
    setTimeout(admitNext, Math.min(MAX_TIMER_MS, Math.max(0, wait))).unref();
  }

  function admitNext(): void {
    scheduled = false;
    fill();
    while (tokens >= 1 && queue.admit(() => undefined)) tokens -= 1;
    if (queue.size > 0) schedule();
  }

  return {
    async take(options = {}) {
      options.signal?.throwIfAborted();
      fill();
      if (queue.size === 0 && tokens >= 1) {
        tokens -= 1;
        return;
      }
      const turn = queue.wait(options);
      schedule();
      await turn;
    },
    get waiting() {
      return queue.size;
    },
  };
}
