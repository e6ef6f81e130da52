import { forgetOldest } from "@cache-registry/runtime/forget-oldest";
import { isNewer, type KubeObject, keyOf } from "./object.ts";

/** What became of one object. `object` is the newest kept form, for deletions the last one known. */
export type Change<Kept> = {
  readonly type: "added" | "updated" | "deleted";
  readonly key: string;
  readonly object: Kept;
};

type Entry<Kept> = {
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly kept: Kept;
};

export type ObjectStore<T extends KubeObject, Kept> = {
  get(key: string): Kept | undefined;
  values(): IterableIterator<Kept>;
  keys(): IterableIterator<string>;
  readonly size: number;
  /** An object as the API server sent it. Older than what is held: no change. */
  put(object: T): Change<Kept>[];
  remove(object: T): Change<Kept>[];
  /** Starts a full list; nothing is visible until `finish`, which drops what was not listed. */
  replace(): { put(object: T): void; finish(): Change<Kept>[] };
};

const MAX_REMEMBERED = 1_000;

/** The reduced copy of a collection. Full objects are dropped as soon as `transform` has taken what is needed. */
export function createObjectStore<T extends KubeObject, Kept>(transform: (object: T) => Kept): ObjectStore<T, Kept> {
  let entries = new Map<string, Entry<Kept>>();
  /** Keys put while a list is under way: newer than what the list says of them. */
  let touched = new Set<string>();
  /** UIDs of the last deletions: the answer to an own write may arrive after the watch has told of the deletion. */
  const gone = new Set<string>();

  function bury(uid: string | undefined): void {
    if (uid === undefined) return;
    gone.add(uid);
    forgetOldest(gone, MAX_REMEMBERED);
  }

  function changeOf(previous: Entry<Kept> | undefined, entry: Entry<Kept>, key: string): Change<Kept>[] {
    if (previous === undefined) return [{ type: "added", key, object: entry.kept }];
    if (previous.uid === entry.uid) {
      const same = previous.resourceVersion === entry.resourceVersion;
      return same ? [] : [{ type: "updated", key, object: entry.kept }];
    }
    // Deleted and created again under the same name while we were not looking.
    const deleted = { type: "deleted", key, object: previous.kept } as const;
    return [deleted, { type: "added", key, object: entry.kept }];
  }

  function entryOf(object: T): Entry<Kept> {
    const { uid, resourceVersion } = object.metadata;
    return { uid, resourceVersion, kept: transform(object) };
  }

  return {
    get: (key) => entries.get(key)?.kept,
    *values() {
      for (const entry of entries.values()) yield entry.kept;
    },
    keys: () => entries.keys(),
    get size() {
      return entries.size;
    },
    put(object) {
      const key = keyOf(object);
      const previous = entries.get(key);
      if (object.metadata.uid !== undefined && gone.has(object.metadata.uid)) return [];
      if (previous && isNewer(previous.resourceVersion, object.metadata.resourceVersion)) return [];
      const entry = entryOf(object);
      entries.set(key, entry);
      touched.add(key);
      return changeOf(previous, entry, key);
    },
    remove(object) {
      bury(object.metadata.uid);
      const key = keyOf(object);
      const previous = entries.get(key);
      if (previous === undefined || isNewer(previous.resourceVersion, object.metadata.resourceVersion)) return [];
      entries.delete(key);
      return [{ type: "deleted", key, object: previous.kept }];
    },
    replace() {
      const next = new Map<string, Entry<Kept>>();
      touched = new Set();
      return {
        put(object) {
          next.set(keyOf(object), entryOf(object));
        },
        finish() {
          const before = entries;
          for (const key of touched) {
            const entry = before.get(key);
            if (entry && isNewer(entry.resourceVersion, next.get(key)?.resourceVersion)) next.set(key, entry);
          }
          // A restored etcd brings back what was deleted.
          for (const { uid } of next.values()) if (uid !== undefined) gone.delete(uid);
          entries = next;
          const changes = [...next].flatMap(([key, entry]) => changeOf(before.get(key), entry, key));
          for (const [key, entry] of before) {
            if (!next.has(key)) changes.push({ type: "deleted", key, object: entry.kept });
          }
          return changes;
        },
      };
    },
  };
}
