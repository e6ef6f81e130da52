export type CircuitBreaker = {
  /** May the next request try? While open one request per window may, to see whether it heals. */
  allows(): boolean;
  succeeded(): void;
  failed(): void;
  readonly open: boolean;
};

export type CircuitBreakerOptions = {
  /** Milliseconds without a try after a failure. */
  readonly window: number;
  /** Milliseconds; monotonic. */
  readonly now?: () => number;
};

/** Spares requests the time of connecting to what was just found to be down. */
export function createCircuitBreaker({ window, now = () => performance.now() }: CircuitBreakerOptions): CircuitBreaker {
  let openUntil: number | undefined;
  return {
    allows() {
      if (openUntil === undefined) return true;
      if (now() < openUntil) return false;
      // This one tries; the others wait for its result, at most another window.
      openUntil = now() + window;
      return true;
    },
    succeeded() {
      openUntil = undefined;
    },
    failed() {
      openUntil = now() + window;
    },
    get open() {
      return openUntil !== undefined;
    },
  };
}
