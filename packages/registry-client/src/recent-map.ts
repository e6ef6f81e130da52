import { forgetOldest } from "@cache-registry/runtime/forget-oldest";

/** A map of bounded size: when full, the entry used least recently goes. */
export type RecentMap<Key, Value> = {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  delete(key: Key): void;
  values(): Iterable<Value>;
  entries(): Iterable<[Key, Value]>;
  readonly size: number;
};

export function createRecentMap<Key, Value>(capacity: number): RecentMap<Key, Value> {
  const entries = new Map<Key, Value>();
  return {
    get(key) {
      const value = entries.get(key);
      // Re-inserted, so that the map's order is the order of last use.
      if (value !== undefined) {
        entries.delete(key);
        entries.set(key, value);
      }
      return value;
    },
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      forgetOldest(entries, capacity);
    },
    delete: (key) => void entries.delete(key),
    values: () => entries.values(),
    entries: () => entries.entries(),
    get size() {
      return entries.size;
    },
  };
}
