import type { Digest } from "@cache-registry/core/digest";
import { parseCursor, printCursor } from "../eviction-cursor.ts";
import type { Eviction, EvictionRules } from "../eviction-store.ts";
import { PINNED_FOR_EVER } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { lockBlobs } from "./blobs.ts";
import { removeManifest } from "./manifests.ts";
import { lockRepositories } from "./repositories.ts";

type Candidate = {
  readonly id: number;
  readonly repositoryId: number;
  readonly repository: string;
  readonly digest: Digest;
  readonly usedAt: number;
  /** Its subject is beside it. */
  readonly follows: boolean;
};

const CANDIDATE = `SELECT m.id, m.repository_id AS "repositoryId", r.name AS repository, m.digest, m.used_at AS "usedAt",
    m.subject IS NOT NULL AND EXISTS (
      SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject) AS follows
  FROM manifests AS m JOIN repositories AS r ON r.id = m.repository_id`;
const PAGE = sql<Candidate>(
  `${CANDIDATE} WHERE m.cached AND (m.used_at, m.id) > ($1, $2) AND m.used_at <= $3
   ORDER BY m.used_at, m.id LIMIT $4`,
);
const AGAIN = sql<Candidate>(`${CANDIDATE} WHERE m.id = $1`);
const PINNED = sql(
  `WITH RECURSIVE above (id) AS (
     SELECT id FROM manifests WHERE repository_id = $1 AND digest = $2
     UNION
     SELECT p.manifest_id FROM above JOIN manifests AS m ON m.id = above.id
       JOIN manifest_references AS p ON p.repository_id = m.repository_id AND p.child = m.digest)
   SELECT 1 FROM above JOIN manifests AS m ON m.id = above.id WHERE EXISTS (
     SELECT 1 FROM tags AS t
       JOIN repositories AS r ON r.id = t.repository_id
       JOIN image_owners AS o ON o.reference = r.name || ':' || t.name
     WHERE t.repository_id = m.repository_id AND t.digest = m.digest AND o.pinned_until > $3)
   OR EXISTS (
     SELECT 1 FROM images AS i JOIN image_owners AS o ON o.reference = i.reference
     WHERE i.digest = m.digest AND o.pinned_until > $3) LIMIT 1`,
);
const REFERS_TO = sql(
  `WITH RECURSIVE below (digest) AS (
     SELECT child FROM manifest_references WHERE manifest_id = $1
     UNION
     SELECT p.child FROM below JOIN manifests AS m ON m.repository_id = $2 AND m.digest = below.digest
       JOIN manifest_references AS p ON p.manifest_id = m.id)
   SELECT 1 FROM below WHERE digest = ANY($3::text[]) LIMIT 1`,
);
const CHILDREN = sql<{ child: Digest }>("SELECT child FROM manifest_references WHERE manifest_id = $1");
const REFERRERS = sql<{ id: number; digest: Digest }>(
  `SELECT m.id, m.digest FROM manifests AS m WHERE m.repository_id = $1 AND m.subject = $2
     AND NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.repository_id = m.repository_id AND t.digest = m.digest)`,
);

async function isPinned(session: Session, repositoryId: number, digest: Digest, now: number): Promise<boolean> {
  return (await session.row(PINNED, repositoryId, digest, now)) !== undefined;
}

type Verdict = { readonly stays: true } | { readonly stays: false; readonly pinned: boolean };

async function judge(session: Session, candidate: Candidate, rules: EvictionRules): Promise<Verdict> {
  const { id, repositoryId, digest, follows } = candidate;
  if (follows) return { stays: true };
  const fetched = rules.fetching.length > 0 && (await session.row(REFERS_TO, id, repositoryId, rules.fetching));
  if (fetched) return { stays: true };
  const pinned = await isPinned(session, repositoryId, digest, rules.now);
  if (!pinned) return { stays: false, pinned };
  const stays = !rules.pinned || (await isPinned(session, repositoryId, digest, PINNED_FOR_EVER - 1));
  return stays ? { stays } : { stays, pinned };
}

/** The manifest and the referrers that go with it, the subject before its referrers, and all that they hold. */
async function treeOf(
  session: Session,
  root: { readonly id: number; readonly digest: Digest; readonly repositoryId: number },
  now: number,
): Promise<{ readonly manifests: Digest[]; readonly blobs: Set<Digest> }> {
  const manifests = new Set<Digest>();
  const blobs = new Set<Digest>();
  const waiting = [{ id: root.id, digest: root.digest }];
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    if (manifests.has(next.digest)) continue;
    manifests.add(next.digest);
    blobs.add(next.digest);
    for (const { child } of await session.rows(CHILDREN, next.id)) blobs.add(child);
    for (const referrer of await session.rows(REFERRERS, root.repositoryId, next.digest)) {
      if (!(await isPinned(session, root.repositoryId, referrer.digest, now))) waiting.push(referrer);
    }
  }
  return { manifests: [...manifests], blobs };
}

/** The least recently used manifests of upstream repositories go, one at a time. */
export async function evictManifest(
  session: Session,
  cursor: string | null,
  { rules, limit }: { readonly rules: EvictionRules; readonly limit: number },
): Promise<{ readonly evicted: Eviction | null; readonly cursor: string | null }> {
  const from = parseCursor(cursor);
  const size = Math.max(1, limit);
  const candidates = await session.rows(PAGE, from.usedAt, from.id, rules.usedBefore, size);
  for (const candidate of candidates) {
    if ((await judge(session, candidate, rules)).stays) continue;
    const evicted = await evict(session, candidate, rules);
    // Used or gone meanwhile: the walk goes on in another transaction, without the lock that this one has.
    return { evicted, cursor: printCursor(candidate) };
  }
  const last = candidates.at(-1);
  return { evicted: null, cursor: candidates.length < size || !last ? null : printCursor(last) };
}

async function evict(session: Session, found: Candidate, rules: EvictionRules): Promise<Eviction | null> {
  const { repositoryId, repository, digest, usedAt, id } = found;
  await lockRepositories(session, [repositoryId]);
  const candidate = await session.row(AGAIN, id);
  if (candidate?.usedAt !== usedAt) return null;
  const verdict = await judge(session, candidate, rules);
  if (verdict.stays) return null;
  const { manifests, blobs } = await treeOf(session, found, rules.now);
  // All at once and in order, before the manifests take them one by one.
  await lockBlobs(session, [...blobs]);
  const how = { event: "evicted", unreferencedAt: rules.now, reviewAt: rules.now } as const;
  for (const manifest of manifests) await removeManifest(session, repositoryId, manifest, how);
  return { repository, digest, pinned: verdict.pinned, usedAt, blobs: [...blobs] };
}
