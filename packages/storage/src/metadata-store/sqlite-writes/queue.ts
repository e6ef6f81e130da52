import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ReviewTask } from "../metadata-store.ts";
import { NO_REPOSITORY, type ReviewEvent } from "../review-event.ts";
import { prepare } from "../sqlite-statement.ts";

/**
 * The review queue: a hint that something may have lost its last reference. A newer event moves the time of an older
 * one, so that content in use by a slow push is not looked at over and over.
 */
export type ReviewQueue = ReturnType<typeof createReviewQueue>;

export function createReviewQueue(db: DatabaseSync) {
  const put = prepare(
    db,
    `INSERT INTO reviews (repository_id, digest, review_after, event) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET review_after = excluded.review_after, event = excluded.event`,
  );
  // Bytes that were never here need no review; a queue of them would only cost.
  const putBlob = prepare(
    db,
    `INSERT INTO reviews (repository_id, digest, review_after, event)
     SELECT ${NO_REPOSITORY}, digest, ?, ? FROM blobs WHERE digest = ? AND state = 'live'
     ON CONFLICT DO UPDATE SET review_after = excluded.review_after, event = excluded.event`,
  );
  const postpone = prepare(
    db,
    `INSERT INTO reviews (repository_id, digest, review_after, event) VALUES (?, ?, ?, 'postponed')
     ON CONFLICT DO UPDATE SET review_after = excluded.review_after`,
  );
  const later = prepare(
    db,
    `UPDATE reviews SET review_after = ? WHERE digest = ?
       AND repository_id = coalesce((SELECT id FROM repositories WHERE name = ?), ${NO_REPOSITORY})`,
  );
  const putNew = prepare(
    db,
    "INSERT INTO reviews (repository_id, digest, review_after, event) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
  );
  const remove = prepare(db, "DELETE FROM reviews WHERE repository_id = ? AND digest = ?");

  return {
    manifest(repositoryId: number, digest: Digest, due: { readonly at: number; readonly event: ReviewEvent }): void {
      put.run(repositoryId, digest, due.at, due.event);
    },
    blob(digest: Digest, due: { readonly at: number; readonly event: ReviewEvent }): void {
      putBlob.run(due.at, due.event, digest);
    },
    /** Looked at, and not yet due; why it is in the queue stays. `repositoryId` null: a blob. */
    postpone(repositoryId: number | null, digest: Digest, at: number): void {
      postpone.run(repositoryId ?? NO_REPOSITORY, digest, at);
    },
    later(task: ReviewTask, until: number): void {
      later.run(until, task.digest, task.kind === "manifest" ? task.repository : null);
    },
    /** The sweep: what is queued already keeps its time. */
    unlessQueued(repositoryId: number | null, digest: Digest, at: number): void {
      putNew.run(repositoryId ?? NO_REPOSITORY, digest, at, "sweep");
    },
    dropManifest(repositoryId: number, digest: Digest): void {
      remove.run(repositoryId, digest);
    },
    dropBlob(digest: Digest): void {
      remove.run(NO_REPOSITORY, digest);
    },
  };
}
