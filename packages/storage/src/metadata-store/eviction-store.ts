import type { Digest } from "@cache-registry/core/digest";

export type EvictionRules = {
  readonly now: number;
  /** What was used after this stays: somebody is in the middle of pulling it. Milliseconds. */
  readonly usedBefore: number;
  /** May content go that an owner has pinned? Never what is pinned for ever. */
  readonly pinned: boolean;
  /** Blobs that are being fetched: what refers to one, directly or through its children, stays. */
  readonly fetching: readonly Digest[];
};

export type Eviction = {
  readonly repository: string;
  readonly digest: Digest;
  readonly pinned: boolean;
  /** The last pull of it or of a manifest below it, else when it came; milliseconds. */
  readonly usedAt: number;
  /** Its own bytes and what it referred to, with those of its referrers: blobs that may have no other user. */
  readonly blobs: readonly Digest[];
};

export interface EvictionStore {
  /**
   * Walks over the manifests of upstream repositories, the least recently used first, from the cursor on (null: from the
   * start), looks at most at `limit` of them and removes the first that may go: with its tags, and with those of its
   * referrers that have neither tag nor pin. `cursor` is where to go on, null at the end of the walk.
   * A use of a manifest is one of the indexes above it, so that children go before them. What is pinned, also through an
   * index above it, goes only when the rules say so; what has its subject beside it goes with the subject.
   * The blobs are queued for review; with a short `cachedGrace` they can go at once.
   */
  evictManifest(
    cursor: string | null,
    rules: EvictionRules,
    limit: number,
  ): Promise<{ readonly evicted: Eviction | null; readonly cursor: string | null }>;
}
