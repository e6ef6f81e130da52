import type { Digest } from "@cache-registry/core/digest";
import type { BlobLinkStore, BlobRecord, ReviewRules } from "../metadata-store.ts";
import { Rollback } from "../postgres/database.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { LINK_BACKED } from "../protection-sql.ts";
import { dropBlobReview, postpone, queueBlobs } from "./queue.ts";
import {
  assertOrigin,
  ensureRepository,
  lockRepositories,
  lockRepositoriesByName,
  lockRepository,
} from "./repositories.ts";

type Row = BlobRecord & { readonly state: "live" | "deleting" };
type Link = Parameters<BlobLinkStore["linkBlob"]>[0];
type Touches = Parameters<BlobLinkStore["touchBlobs"]>[0];

/*
 * The row of a blob is the lock for its state and its place in the review queue, over all repositories. Several are taken
 * in the order of their digests, after the repositories.
 */

const LOCK = sql<Row>(
  `SELECT digest, size, generation, state FROM blobs WHERE digest = ANY($1::text[])
   ORDER BY digest FOR NO KEY UPDATE`,
);
const IS_LIVE = sql("SELECT 1 FROM blobs WHERE digest = $1 AND state = 'live'");
const PUT = sql<BlobRecord>(
  `INSERT INTO blobs (digest, size, generation, state) VALUES ($1, $2, nextval('blob_generations'), 'live')
   ON CONFLICT (digest) DO UPDATE SET size = excluded.size, generation = excluded.generation, state = 'live'
     WHERE blobs.state <> 'live' RETURNING digest, size, generation`,
);
const LINK = sql<{ backed: boolean }>(
  `INSERT INTO blob_links AS l (digest, repository_id, linked_at, touched_at) VALUES ($1, $2, $3, $3)
   ON CONFLICT (digest, repository_id) DO UPDATE SET linked_at = greatest(l.linked_at, excluded.linked_at)
   RETURNING ${LINK_BACKED} AS backed`,
);
const UNLINK = sql("DELETE FROM blob_links WHERE digest = $1 AND repository_id = $2");
const TOUCH = sql(
  `UPDATE blob_links AS l SET touched_at = greatest(l.touched_at, u.at) FROM (
     SELECT r.id, t.digest, max(t.at) AS at
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS t (repository, digest, at)
     JOIN repositories AS r ON r.name = t.repository GROUP BY r.id, t.digest) AS u
   WHERE l.repository_id = u.id AND l.digest = u.digest`,
);
const LINKS = sql<{ repositoryId: number }>('SELECT repository_id AS "repositoryId" FROM blob_links WHERE digest = $1');
const UNLINK_IN = sql("DELETE FROM blob_links WHERE digest = $1 AND repository_id = ANY($2::bigint[])");
const REMOVE = sql("DELETE FROM blobs WHERE digest = $1");
/** SQL: when link `l` may go if nothing backs it. `$2`: the grace of local repositories, `$3`: that of upstream ones. */
const LINK_EXPIRES = `(greatest(l.linked_at, l.touched_at) + CASE
  WHEN (SELECT r.upstream FROM repositories AS r WHERE r.id = l.repository_id) IS NULL THEN $2::bigint
  ELSE $3::bigint END)`;
/** At most so many at a time: the rest is found when the blob, still due, is looked at again. */
const EXPIRED_LINKS = sql<{ repositoryId: number }>(
  `SELECT l.repository_id AS "repositoryId" FROM blob_links AS l
   WHERE l.digest = $1 AND ${LINK_EXPIRES} <= $4 AND NOT ${LINK_BACKED} LIMIT 1000`,
);
const DROP_LINKS = sql(
  `DELETE FROM blob_links AS l WHERE l.digest = $1 AND l.repository_id = ANY($5::bigint[])
   AND ${LINK_EXPIRES} <= $4 AND NOT ${LINK_BACKED}`,
);
const REMAINING = sql<{ links: number; nextAt: number | null }>(
  `SELECT count(*) AS links, min(CASE WHEN ${LINK_BACKED} THEN NULL ELSE ${LINK_EXPIRES} END) AS "nextAt"
   FROM blob_links AS l WHERE l.digest = $1`,
);
const START_DELETING = sql("UPDATE blobs SET state = 'deleting' WHERE digest = $1");
const FINISH = sql(
  `WITH gone AS (
     DELETE FROM blobs WHERE digest = $1 AND generation = $2 AND state = 'deleting' RETURNING digest)
   DELETE FROM reviews AS q USING gone WHERE q.repository_id = 0 AND q.digest = gone.digest`,
);

/** Rows of those that are there, locked. */
export function lockBlobs(session: Session, digests: readonly Digest[]): Promise<Row[]> {
  return digests.length === 0 ? Promise.resolve([]) : session.rows(LOCK, [...new Set(digests)]);
}

/** Live (a new generation when it was not) and linked; `backed` when a manifest of the repository needs it. */
export async function putLinked(
  session: Session,
  repositoryId: number,
  blob: { readonly digest: Digest; readonly size: number | undefined; readonly now: number },
): Promise<{ readonly backed: boolean; readonly added: BlobRecord | undefined }> {
  const [added, link] = await Promise.all([
    blob.size === undefined ? undefined : session.row(PUT, blob.digest, blob.size),
    session.row(LINK, blob.digest, repositoryId, blob.now),
  ]);
  return { backed: link?.backed === true, added };
}

/** The linked blob, undefined when it had to be live and is not. */
export async function linkBlob(session: Session, grace: number, link: Link): Promise<BlobRecord | undefined> {
  const { repository, digest, size, now } = link;
  if (size === undefined && !(await session.row(IS_LIVE, digest))) return undefined;
  const row = await ensureRepository(session, repository);
  const [blob] = await lockBlobs(session, [digest]);
  // Gone meanwhile: and with it the repository, should it be new.
  if (size === undefined && blob?.state !== "live") throw new Rollback(undefined);
  assertOrigin(row, repository);
  const { backed, added } = await putLinked(session, row.id, { digest, size, now });
  // Bytes fetched for a manifest that is here already need no review before that manifest goes.
  if (!backed) await queueBlobs(session, [digest], { at: now + grace, event: "blob_linked" });
  return added ?? (blob && { digest, size: blob.size, generation: blob.generation });
}

export async function unlinkBlob(
  session: Session,
  grace: number,
  { repository, digest, now }: { readonly repository: string; readonly digest: Digest; readonly now: number },
): Promise<boolean> {
  const row = await lockRepository(session, repository);
  if (!row) return false;
  await lockBlobs(session, [digest]);
  if ((await session.run(UNLINK, digest, row.id)) === 0) return false;
  await queueBlobs(session, [digest], { at: now + grace, event: "blob_unlinked" });
  return true;
}

export async function touchBlobs(session: Session, touches: Touches): Promise<void> {
  const repositories = touches.map(({ repository }) => repository);
  await lockRepositoriesByName(session, repositories);
  await session.run(TOUCH, repositories, digestsOf(touches), timesOf(touches));
}

export const digestsOf = (batch: readonly { readonly digest: Digest }[]): Digest[] => batch.map(({ digest }) => digest);
export const timesOf = (batch: readonly { readonly at: number }[]): number[] => batch.map(({ at }) => at);

/** False when a link came in a repository that is not locked: to be tried again. */
export async function forgetBlob(session: Session, digest: Digest): Promise<boolean> {
  const links = await session.rows(LINKS, digest);
  const locked = await lockRepositories(
    session,
    links.map((link) => link.repositoryId),
  );
  await lockBlobs(session, [digest]);
  await session.run(UNLINK_IN, digest, locked);
  if (await session.row(LINKS, digest)) throw new Rollback(false);
  await session.run(REMOVE, digest);
  await dropBlobReview(session, digest);
  return true;
}

export async function beginDeletion(
  session: Session,
  digest: Digest,
  rules: ReviewRules,
): Promise<BlobRecord | undefined> {
  const { now, grace: localGrace, cachedGrace = localGrace } = rules;
  const expired = await session.rows(EXPIRED_LINKS, digest, localGrace, cachedGrace, now);
  const locked = await lockRepositories(
    session,
    expired.map((link) => link.repositoryId),
  );
  const [row] = await lockBlobs(session, [digest]);
  if (!row) {
    await dropBlobReview(session, digest);
    return undefined;
  }
  const { state, ...record } = row;
  if (state === "deleting") return record;
  if (locked.length > 0) await session.run(DROP_LINKS, digest, localGrace, cachedGrace, now, locked);
  const remaining = await session.row(REMAINING, digest, localGrace, cachedGrace);
  const { links, nextAt } = remaining ?? { links: 0, nextAt: null };
  if (nextAt !== null) {
    await postpone(session, null, digest, nextAt);
    return undefined;
  }
  if (links > 0) {
    await dropBlobReview(session, digest);
    return undefined;
  }
  // Stays due until the bytes are gone, so that a removal that fails is tried again.
  await queueBlobs(session, [digest], { at: now, event: "deleting" });
  await session.run(START_DELETING, digest);
  return record;
}

export async function finishDeletion(session: Session, digest: Digest, generation: number): Promise<void> {
  await session.run(FINISH, digest, generation);
}
