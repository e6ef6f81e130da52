import type { Digest } from "@cache-registry/core/digest";

/**
 * One task at a time per digest, first come, first served. Two parties take it:
 * - who makes bytes live: `BlobWriter.commit` and then `linkBlob` or `putManifest`;
 * - who takes them away: `beginBlobDeletion`, `BlobStore.remove`, `finishBlobDeletion`; and `forgetBlob` after a `stat`.
 *
 * Without it a commit could land between the collector's decision and its `remove`, and the fresh bytes would go to the
 * trash. A lock is acceptable here although nothing else in the registry waits for another: it is held for an fsync, a
 * rename and one metadata transaction (milliseconds), never while bytes stream, and only by those who write the very same
 * content. Readers do not take it: a file that is renamed away stays readable for those who have it open.
 *
 * With many replicas the lock is in the database (postgres-digest-lock.ts, docs/adr/0018), and can be lost with the connection.
 */
export type DigestLock = {
  /**
   * Runs the task when every earlier one for the digest has settled. Not reentrant.
   * @throws CodedError UNAVAILABLE when it could not be had, or was not held to the end: then nothing may be acknowledged
   */
  run<Value>(digest: Digest, task: (held: HeldLock) => Promise<Value>): Promise<Value>;
  /** Digests with a task running or waiting. */
  readonly size: number;
};

export type HeldLock = {
  /** Before bytes are taken away. @throws CodedError UNAVAILABLE when the lock may have gone to another meanwhile */
  readonly confirm: () => Promise<void>;
};

/** It cannot be lost. */
const HELD: HeldLock = { confirm: async () => {} };

/** For one process. */
export function createDigestLock(): DigestLock {
  const tails = new Map<Digest, Promise<unknown>>();

  return {
    async run(digest, task) {
      const previous = tails.get(digest);
      const start = () => task(HELD);
      const current = previous ? previous.then(start, start) : start();
      tails.set(digest, current);
      try {
        return await current;
      } finally {
        if (tails.get(digest) === current) tails.delete(digest);
      }
    },
    get size() {
      return tails.size;
    },
  };
}
