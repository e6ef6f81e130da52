import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import { MANIFEST_PROTECTED } from "../protection-sql.ts";
import type { Loss } from "../review-event.ts";
import { prepare } from "../sqlite-statement.ts";
import type { ReviewQueue } from "./queue.ts";

/** Keeps `unreferenced_at` true: every write that adds or removes a reference to a manifest tells it so. */
export type Protection = ReturnType<typeof createProtection>;

export function createProtection(db: DatabaseSync, queue: ReviewQueue) {
  const markLost = prepare(
    db,
    `UPDATE manifests AS m SET unreferenced_at = ?
     WHERE m.repository_id = ? AND m.digest = ? AND NOT ${MANIFEST_PROTECTED}`,
  );
  const clear = prepare(db, "UPDATE manifests SET unreferenced_at = NULL WHERE repository_id = ? AND digest = ?");
  const isProtected = prepare<{ protected: number }>(
    db,
    `SELECT ${MANIFEST_PROTECTED} AS protected FROM manifests AS m WHERE m.repository_id = ? AND m.digest = ?`,
  );

  return {
    /** A reference to the manifest is gone: with the last one it becomes a candidate for review. */
    lost(repositoryId: number, digest: Digest, loss: Loss): void {
      if (markLost.run(loss.at, repositoryId, digest) === 0) return;
      queue.manifest(repositoryId, digest, { at: loss.reviewAt, event: loss.event });
    },
    /** A reference to the manifest is new. */
    gained(repositoryId: number, digest: Digest): void {
      clear.run(repositoryId, digest);
    },
    isProtected: (repositoryId: number, digest: Digest): boolean =>
      isProtected.get(repositoryId, digest)?.protected === 1,
  };
}
