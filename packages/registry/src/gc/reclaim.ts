import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock, HeldLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { BlobRecord, MetadataStore, ReviewRules } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";

export type ReclaimDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly pulls: Pick<PullRecorder, "flush">;
  /**
   * The metadata may be older than the bytes, or new beside them. What no row knows is then kept for `rebuild`, and so is what
   * nothing refers to as far as is known, unless it is cached: an image that was pushed after the snapshot may consist of it.
   */
  readonly keepOrphans?: () => Promise<boolean>;
};

/** What is kept for `rebuild` is looked at again after this, in milliseconds. */
const KEPT_MS = 600_000;

/** Two-phase deletion of blobs: re-check and mark `deleting`, take the bytes away, remove the row. */
export type Reclaim = {
  /** Bytes freed, undefined when the blob is needed or its review was postponed. */
  blob(digest: Digest, rules: ReviewRules): Promise<number | undefined>;
  /** Finishes what a crash interrupted. */
  finishInterrupted(): Promise<number>;
  /**
   * Bytes at rest that no row knows (a crash between rename and transaction). Resolves with how many were removed, or
   * (`dryRun`) would be; none as long as there is no row for anything. Ends early when the signal aborts.
   */
  orphans(options?: { readonly dryRun?: boolean; readonly signal?: AbortSignal }): Promise<number>;
};

export function createReclaim({ blobs, metadata, digestLock, pulls, keepOrphans }: ReclaimDeps): Reclaim {
  async function remove({ digest, generation }: BlobRecord, held: HeldLock): Promise<void> {
    await blobs.remove(digest, generation, held.confirm);
    await metadata.finishBlobDeletion(digest, generation);
  }

  async function removeCopies(digest: Digest, held: HeldLock): Promise<void> {
    await blobs.removeCopies?.(digest, held.confirm);
  }

  async function isKept(digest: Digest): Promise<boolean> {
    if (!(await keepOrphans?.())) return false;
    // Without any link it was on its way out, or was pushed.
    return (await metadata.findLocalLink(digest)) !== undefined || (await metadata.blobHolders(digest)).length === 0;
  }

  return {
    // Whoever writes the same digest anew waits for the rename below; then it gets a new generation.
    blob: (digest, rules) =>
      digestLock.run(digest, async (held) => {
        // Whoever was told a moment ago that the blob is here counts on it.
        await pulls.flush();
        if (await isKept(digest)) {
          await metadata.postponeReview({ kind: "blob", digest, reason: "restored" }, rules.now + KEPT_MS);
          return undefined;
        }
        const doomed = await metadata.beginBlobDeletion(digest, rules);
        if (!doomed) return undefined;
        await remove(doomed, held);
        return doomed.size;
      }),
    async finishInterrupted() {
      let finished = 0;
      // Bytes that went, and were pushed anew after the snapshot.
      if (await keepOrphans?.()) return finished;
      for (;;) {
        const rows = await metadata.deletingBlobs(100);
        if (rows.length === 0) return finished;
        for (const row of rows) {
          await digestLock.run(row.digest, async (held) => {
            // Another replica may have finished it, and a third pushed it anew, while this one waited.
            if (!(await metadata.blob(row.digest))) await remove(row, held);
          });
        }
        finished += rows.length;
      }
    },
    async orphans({ dryRun = false, signal } = {}) {
      // With no row at all the database was lost or is new, not the bytes: to remove them all would be the worst answer.
      if ((await metadata.usage()).blobs === 0 || (await keepOrphans?.())) return 0;
      let removed = 0;
      let previous: Digest | undefined;
      for await (const digest of blobs.list()) {
        if (signal?.aborted) break;
        const again = digest === previous;
        previous = digest;
        if (again && !dryRun) await digestLock.run(digest, (held) => removeCopies(digest, held));
        if (again || (await metadata.blob(digest))) continue;
        removed += await digestLock.run(digest, async (held) => {
          if (await metadata.blob(digest)) return 0;
          if (dryRun) return 1;
          await blobs.remove(digest, 0, held.confirm);
          return 1;
        });
      }
      return removed;
    },
  };
}
