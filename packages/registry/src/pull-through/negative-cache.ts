import { forgetOldest } from "@cache-registry/runtime/forget-oldest";

/** Failures are remembered for at most this long (DESIGN rule: ten seconds), in milliseconds. */
export const REMEMBER_FAILURE_MS = 10_000;
const MAX_ENTRIES = 10_000;

/** A brief memory of upstream failures, so that a dead or throttling upstream is not asked by every request. */
export type NegativeCache = {
  get(key: string): Error | undefined;
  remember(key: string, error: Error): void;
  forget(key: string): void;
  /** Of all keys that begin so. */
  forgetAll(prefix: string): void;
};

export function createNegativeCache({ now = Date.now, ttl = REMEMBER_FAILURE_MS } = {}): NegativeCache {
  const entries = new Map<string, { readonly error: Error; readonly until: number }>();
  return {
    get(key) {
      const entry = entries.get(key);
      if (!entry) return undefined;
      const left = entry.until - now();
      if (left > 0 && left <= ttl) return entry.error;
      entries.delete(key);
      return undefined;
    },
    remember(key, error) {
      entries.delete(key);
      entries.set(key, { error, until: now() + ttl });
      forgetOldest(entries, MAX_ENTRIES);
    },
    forget(key) {
      entries.delete(key);
    },
    forgetAll(prefix) {
      for (const key of entries.keys()) if (key.startsWith(prefix)) entries.delete(key);
    },
  };
}
