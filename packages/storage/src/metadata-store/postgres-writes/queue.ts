import type { Digest } from "@cache-registry/core/digest";
import type { ReviewTask } from "../metadata-store.ts";
import { repositoryId, type Session, sql } from "../postgres/statement.ts";
import { NO_REPOSITORY, type ReviewEvent } from "../review-event.ts";

const REPLACE =
  "ON CONFLICT (repository_id, digest) DO UPDATE SET review_after = excluded.review_after, event = excluded.event";

const PUT = sql(`INSERT INTO reviews (repository_id, digest, review_after, event) VALUES ($1, $2, $3, $4) ${REPLACE}`);

// Bytes that were never here need no review; a queue of them would only cost.
const PUT_BLOBS = sql(
  `INSERT INTO reviews (repository_id, digest, review_after, event)
   SELECT ${NO_REPOSITORY}, b.digest, $2, $3 FROM blobs AS b WHERE b.digest = ANY($1::text[]) AND b.state = 'live'
   ORDER BY b.digest ${REPLACE}`,
);

const POSTPONE = sql(
  `INSERT INTO reviews (repository_id, digest, review_after, event) VALUES ($1, $2, $3, 'postponed')
   ON CONFLICT (repository_id, digest) DO UPDATE SET review_after = excluded.review_after`,
);
const LATER_MANIFEST = sql(
  `UPDATE reviews SET review_after = $3 WHERE repository_id = ${repositoryId(1)} AND digest = $2`,
);
const LATER_BLOB = sql(`UPDATE reviews SET review_after = $2 WHERE repository_id = ${NO_REPOSITORY} AND digest = $1`);
const REMOVE = sql("DELETE FROM reviews WHERE repository_id = $1 AND digest = $2");

type Due = { readonly at: number; readonly event: ReviewEvent };

/*
 * The review queue: a hint that something may have lost its last reference. A newer event moves the time of an older one.
 * Rows of manifests are written under the lock of their repository, those of blobs under the lock of the blob.
 */

export async function queueManifest(session: Session, id: number, digest: Digest, due: Due): Promise<void> {
  await session.run(PUT, id, digest, due.at, due.event);
}

export async function queueBlobs(session: Session, digests: readonly Digest[], due: Due): Promise<void> {
  if (digests.length > 0) await session.run(PUT_BLOBS, digests, due.at, due.event);
}

/** Looked at, and not yet due; why it is in the queue stays. `id` null: a blob. */
export async function postpone(session: Session, id: number | null, digest: Digest, at: number): Promise<void> {
  await session.run(POSTPONE, id ?? NO_REPOSITORY, digest, at);
}

export async function reviewLater(session: Session, task: ReviewTask, until: number): Promise<void> {
  if (task.kind === "blob") await session.run(LATER_BLOB, task.digest, until);
  else await session.run(LATER_MANIFEST, task.repository, task.digest, until);
}

export async function dropManifestReview(session: Session, id: number, digest: Digest): Promise<void> {
  await session.run(REMOVE, id, digest);
}

export async function dropBlobReview(session: Session, digest: Digest): Promise<void> {
  await session.run(REMOVE, NO_REPOSITORY, digest);
}
