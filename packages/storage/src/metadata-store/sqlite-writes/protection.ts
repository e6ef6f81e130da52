import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import { prepare } from "../sqlite-statement.ts";
import type { ReviewEvent, ReviewQueue } from "./queue.ts";

/**
 * SQL: does anything refer to manifest `m`? A tag, a parent in the repository, an image that names its digest (in
 * whatever repository: keeping too much is the harmless side), or a subject that is there.
 */
export const MANIFEST_PROTECTED = `(
  EXISTS (SELECT 1 FROM tags AS t WHERE t.repository_id = m.repository_id AND t.digest = m.digest)
  OR EXISTS (SELECT 1 FROM manifest_references AS p WHERE p.repository_id = m.repository_id AND p.child = m.digest)
  OR EXISTS (SELECT 1 FROM images AS i WHERE i.digest = m.digest)
  OR (m.subject IS NOT NULL AND EXISTS (
    SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)))`;

/** SQL: is link `l` backed by a manifest of its repository, one that refers to the bytes or is them? */
export const LINK_BACKED = `(
  EXISTS (SELECT 1 FROM manifest_references AS p WHERE p.repository_id = l.repository_id AND p.child = l.digest)
  OR EXISTS (SELECT 1 FROM manifests AS d WHERE d.repository_id = l.repository_id AND d.digest = l.digest))`;

export type Loss = {
  readonly event: ReviewEvent;
  /** Since when nothing refers to the manifest. */
  readonly at: number;
  readonly reviewAt: number;
};

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
