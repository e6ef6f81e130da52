import type { Digest } from "@cache-registry/core/digest";
import { type Session, sql } from "../postgres/statement.ts";
import { MANIFEST_PROTECTED } from "../protection-sql.ts";
import type { Loss } from "../review-event.ts";

const QUEUE_LOST = `INSERT INTO reviews (repository_id, digest, review_after, event)
  SELECT repository_id, digest, $4, $5 FROM lost
  ON CONFLICT (repository_id, digest) DO UPDATE SET review_after = excluded.review_after, event = excluded.event`;

const LOST = sql(
  `WITH lost AS (
     UPDATE manifests AS m SET unreferenced_at = $3 WHERE m.repository_id = $1 AND m.digest = ANY($2::text[])
       AND NOT ${MANIFEST_PROTECTED} RETURNING m.repository_id, m.digest)
   ${QUEUE_LOST}`,
);

const REFERRERS_LOST = sql(
  `WITH lost AS (
     UPDATE manifests AS m SET unreferenced_at = $3 WHERE m.repository_id = $1 AND m.subject = $2
       AND NOT ${MANIFEST_PROTECTED} RETURNING m.repository_id, m.digest)
   ${QUEUE_LOST}`,
);

const GAINED = sql(
  `UPDATE manifests SET unreferenced_at = NULL
   WHERE repository_id = $1 AND digest = ANY($2::text[]) AND unreferenced_at IS NOT NULL`,
);

/*
 * These keep `unreferenced_at` true: every write that adds or removes a reference to a manifest tells them so, while it
 * has the lock of the repository.
 */

/** References to the manifests are gone: with the last one they become candidates for review. */
export async function lost(
  session: Session,
  repositoryId: number,
  digests: readonly Digest[],
  { at, reviewAt, event }: Loss,
): Promise<void> {
  if (digests.length > 0) await session.run(LOST, repositoryId, digests, at, reviewAt, event);
}

/** The subject is gone: so are the references that it was to its referrers. */
export async function referrersLost(
  session: Session,
  repositoryId: number,
  subject: Digest,
  { at, reviewAt, event }: Loss,
): Promise<void> {
  await session.run(REFERRERS_LOST, repositoryId, subject, at, reviewAt, event);
}

/** References to the manifests are new. */
export async function gained(session: Session, repositoryId: number, digests: readonly Digest[]): Promise<void> {
  if (digests.length > 0) await session.run(GAINED, repositoryId, digests);
}
