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
 * It serves one process, which is all that a file-system store has.
 */
export type DigestLock = {
  /** Runs the task when every earlier one for the digest has settled. Not reentrant. */
  run<Value>(digest: Digest, task: () => Promise<Value>): Promise<Value>;
  /** Digests with a task running or waiting. */
  readonly size: number;
};

export function createDigestLock(): DigestLock {
  const tails = new Map<Digest, Promise<unknown>>();

  return {
    async run(digest, task) {
      const previous = tails.get(digest);
      const current = previous ? previous.then(task, task) : task();
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
