import { type Session, sql } from "../postgres/statement.ts";

// Locked rows are being folded by another.
const FOLD = sql(
  `WITH gone AS (
     DELETE FROM counter_changes WHERE id IN (
       SELECT id FROM counter_changes ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED)
     RETURNING blobs, blob_bytes, pushed_bytes, manifests, repositories, reviews),
   total AS (
     SELECT coalesce(sum(blobs), 0) AS blobs, coalesce(sum(blob_bytes), 0) AS blob_bytes,
       coalesce(sum(pushed_bytes), 0) AS pushed_bytes, coalesce(sum(manifests), 0) AS manifests, coalesce(sum(repositories), 0) AS repositories,
       coalesce(sum(reviews), 0) AS reviews, count(*) AS changes FROM gone)
   UPDATE counters AS c SET blobs = c.blobs + t.blobs, blob_bytes = c.blob_bytes + t.blob_bytes,
     pushed_bytes = c.pushed_bytes + t.pushed_bytes,
     manifests = c.manifests + t.manifests, repositories = c.repositories + t.repositories,
     reviews = c.reviews + t.reviews FROM total AS t WHERE c.id = 1 AND t.changes > 0`,
);

/** Adds the noted changes to the counters, so that reading them stays cheap. */
export async function foldCounters(session: Session): Promise<void> {
  await session.run(FOLD);
}
