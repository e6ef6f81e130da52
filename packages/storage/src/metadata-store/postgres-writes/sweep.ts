import type { Digest } from "@cache-registry/core/digest";
import type { ReviewRules } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { LINK_BACKED, MANIFEST_PROTECTED } from "../protection-sql.ts";
import { type Candidate, removableAt } from "../removable-at.ts";
import { lockRepositories } from "./repositories.ts";
import { removeTag } from "./tags.ts";

type TagRow = {
  readonly repositoryId: number;
  readonly repository: string;
  readonly name: string;
  readonly upstream: string | null;
  readonly owned: boolean;
  readonly usedAt: number;
};
type ManifestRow = Candidate & {
  readonly id: number;
  readonly repositoryId: number;
  readonly protected: boolean;
};

const TAG = `SELECT t.repository_id AS "repositoryId", r.name AS repository, t.name, r.upstream,
    EXISTS (SELECT 1 FROM images AS i WHERE i.reference = r.name || ':' || t.name) AS owned,
    greatest(coalesce(m.pulled_at, 0), coalesce(m.put_at, 0)) AS "usedAt"
  FROM tags AS t JOIN repositories AS r ON r.id = t.repository_id
  LEFT JOIN manifests AS m ON m.repository_id = t.repository_id AND m.digest = t.digest`;

const TAG_PAGE = sql<TagRow>(
  `${TAG} WHERE (t.repository_id, t.name) > ($1, $2) ORDER BY t.repository_id, t.name LIMIT $3`,
);
const TAG_AGAIN = sql<TagRow>(`${TAG} WHERE t.repository_id = $1 AND t.name = $2`);
const MANIFEST_PAGE = sql<ManifestRow>(
  `SELECT m.id, m.repository_id AS "repositoryId", r.upstream, m.put_at AS "putAt", m.pulled_at AS "pulledAt",
     m.unreferenced_at AS "unreferencedAt", m.subject_seen AS "subjectSeen", ${MANIFEST_PROTECTED} AS protected
   FROM manifests AS m JOIN repositories AS r ON r.id = m.repository_id WHERE m.id > $1 ORDER BY m.id LIMIT $2`,
);
const BLOB_PAGE = sql<{ digest: Digest; needed: boolean }>(
  `SELECT b.digest, EXISTS (SELECT 1 FROM blob_links AS l WHERE l.digest = b.digest)
     AND NOT EXISTS (SELECT 1 FROM blob_links AS l WHERE l.digest = b.digest AND NOT ${LINK_BACKED}) AS needed
   FROM blobs AS b WHERE b.digest > $1 AND b.state = 'live' ORDER BY b.digest LIMIT $2`,
);
// What is queued already keeps its time.
const QUEUE_MANIFESTS = sql(
  `INSERT INTO reviews (repository_id, digest, review_after, event)
   SELECT m.repository_id, m.digest, u.at, 'sweep' FROM unnest($1::bigint[], $2::bigint[]) AS u (id, at)
   JOIN manifests AS m ON m.id = u.id ORDER BY m.repository_id, m.digest ON CONFLICT DO NOTHING`,
);
const QUEUE_BLOBS = sql(
  `INSERT INTO reviews (repository_id, digest, review_after, event)
   SELECT 0, b.digest, $2, 'sweep' FROM blobs AS b WHERE b.digest = ANY($1::text[]) AND b.state = 'live'
   ORDER BY b.digest ON CONFLICT DO NOTHING`,
);

type Options = {
  readonly rules: ReviewRules;
  readonly limit: number;
  readonly grace: number;
  /** Hears of each tag that is dropped. */
  readonly onTag?: (tag: { readonly repository: string; readonly name: string }) => void;
};

/** Where the next page begins: strictly after these keys. Opaque to callers. */
type Cursor =
  | { readonly phase: "tags"; readonly repositoryId: number; readonly name: string }
  | { readonly phase: "manifests"; readonly id: number }
  | { readonly phase: "blobs"; readonly digest: string };

const START: Cursor = { phase: "tags", repositoryId: 0, name: "" };

async function sweepTags(
  session: Session,
  after: Cursor & { phase: "tags" },
  { rules, limit, grace, onTag }: Options,
): Promise<Cursor> {
  const unused = ({ upstream, owned, usedAt }: TagRow): boolean =>
    upstream !== null && !owned && usedAt + rules.unusedFor <= rules.now;
  const page = await session.rows(TAG_PAGE, after.repositoryId, after.name, limit);
  const found = page.filter(unused);
  await lockRepositories(
    session,
    found.map(({ repositoryId }) => repositoryId),
  );
  for (const { repositoryId, name } of found) {
    const row = await session.row(TAG_AGAIN, repositoryId, name);
    if (!row || !unused(row)) continue;
    await removeTag(session, repositoryId, name, { event: "unused", now: rules.now, grace });
    onTag?.({ repository: row.repository, name });
  }
  const last = page.at(-1);
  if (page.length < limit || !last) return { phase: "manifests", id: 0 };
  return { phase: "tags", repositoryId: last.repositoryId, name: last.name };
}

async function sweepManifests(
  session: Session,
  after: Cursor & { phase: "manifests" },
  { rules, limit }: Options,
): Promise<Cursor> {
  const page = await session.rows(MANIFEST_PAGE, after.id, limit);
  const found = page.flatMap((row) => {
    const at = row.protected ? Number.POSITIVE_INFINITY : removableAt(row, rules);
    return at === Number.POSITIVE_INFINITY ? [] : [{ ...row, at: Math.max(at, rules.now) }];
  });
  if (found.length > 0) {
    await lockRepositories(
      session,
      found.map(({ repositoryId }) => repositoryId),
    );
    const [ids, times] = [found.map(({ id }) => id), found.map(({ at }) => at)];
    await session.run(QUEUE_MANIFESTS, ids, times);
  }
  const last = page.at(-1);
  return page.length < limit || !last ? { phase: "blobs", digest: "" } : { phase: "manifests", id: last.id };
}

async function sweepBlobs(
  session: Session,
  after: Cursor & { phase: "blobs" },
  { rules, limit }: Options,
): Promise<Cursor | null> {
  const page = await session.rows(BLOB_PAGE, after.digest, limit);
  const unneeded = page.flatMap(({ digest, needed }) => (needed ? [] : [digest]));
  if (unneeded.length > 0) await session.run(QUEUE_BLOBS, unneeded, rules.now);
  const last = page.at(-1);
  return page.length < limit || !last ? null : { phase: "blobs", digest: last.digest };
}

/** The full pass: tags, manifests, blobs, in order of their keys. A page looks at `limit` rows, whatever it finds. */
export async function sweep(session: Session, cursor: string | null, options: Options): Promise<string | null> {
  const page = { ...options, limit: Math.max(1, options.limit) };
  const from = cursor === null ? START : (JSON.parse(cursor) as Cursor);
  const next =
    from.phase === "tags"
      ? await sweepTags(session, from, page)
      : from.phase === "manifests"
        ? await sweepManifests(session, from, page)
        : await sweepBlobs(session, from, page);
  return next === null ? null : JSON.stringify(next);
}
