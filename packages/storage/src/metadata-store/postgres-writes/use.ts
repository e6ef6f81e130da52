import type { RepositoryStore } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { digestsOf, timesOf } from "./blobs.ts";

// UNION, not UNION ALL: an index that is reached twice is climbed once.
const RECORD = sql(
  `WITH RECURSIVE above (id, at) AS (
     SELECT m.id, u.at FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u (repository, digest, at)
       JOIN repositories AS r ON r.name = u.repository
       JOIN manifests AS m ON m.repository_id = r.id AND m.digest = u.digest
     UNION
     SELECT p.manifest_id, above.at FROM above JOIN manifests AS m ON m.id = above.id
       JOIN manifest_references AS p ON p.repository_id = m.repository_id AND p.child = m.digest)
   UPDATE manifests AS m SET used_at = u.at FROM (SELECT id, max(at) AS at FROM above GROUP BY id) AS u
   WHERE m.id = u.id AND m.used_at < u.at`,
);

/** A use of a manifest is one of the indexes above it: they never go before it. Under the locks of the repositories. */
export async function recordUse(session: Session, uses: Parameters<RepositoryStore["recordPulls"]>[0]): Promise<void> {
  const repositories = uses.map(({ repository }) => repository);
  await session.run(RECORD, repositories, digestsOf(uses), timesOf(uses));
}
