import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import { parseCursor, printCursor } from "../eviction-cursor.ts";
import type { Eviction, EvictionRules } from "../eviction-store.ts";
import { PINNED_FOR_EVER } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Manifests } from "./manifests.ts";
import { WITH_ABOVE } from "./use.ts";

type Candidate = {
  readonly id: number;
  readonly repositoryId: number;
  readonly repository: string;
  readonly digest: Digest;
  readonly usedAt: number;
  /** 1 when its subject is beside it. */
  readonly follows: number;
};

const NAME = "(SELECT name FROM repositories WHERE id = m.repository_id)";

/** The least recently used manifests of upstream repositories go, one at a time. */
export function createEviction(db: DatabaseSync, manifests: Manifests) {
  const page = prepare<Candidate>(
    db,
    `SELECT m.id, m.repository_id AS repositoryId, ${NAME} AS repository, m.digest, m.used_at AS usedAt,
       m.subject IS NOT NULL AND EXISTS (
         SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject) AS follows
     FROM manifests AS m INDEXED BY manifests_by_use
     WHERE m.cached = 1 AND (m.used_at, m.id) > (?, ?) AND m.used_at <= ? ORDER BY m.used_at, m.id LIMIT ?`,
  );
  const pinned = prepare(
    db,
    `${WITH_ABOVE} SELECT 1 FROM above JOIN manifests AS m ON m.id = above.id WHERE EXISTS (
       SELECT 1 FROM tags AS t JOIN image_owners AS o ON o.reference = ${NAME} || ':' || t.name
       WHERE t.repository_id = m.repository_id AND t.digest = m.digest AND o.pinned_until > ?)
     OR EXISTS (
       SELECT 1 FROM images AS i JOIN image_owners AS o ON o.reference = i.reference
       WHERE i.digest = m.digest AND o.pinned_until > ?) LIMIT 1`,
  );
  const refersTo = prepare(
    db,
    `WITH RECURSIVE below (digest) AS (
       SELECT child FROM manifest_references WHERE manifest_id = ?
       UNION
       SELECT p.child FROM below JOIN manifests AS m ON m.repository_id = ? AND m.digest = below.digest
         JOIN manifest_references AS p ON p.manifest_id = m.id)
     SELECT 1 FROM below WHERE digest IN (SELECT value FROM json_each(?)) LIMIT 1`,
  );
  const children = prepare<{ child: Digest }>(db, "SELECT child FROM manifest_references WHERE manifest_id = ?");
  const referrers = prepare<{ id: number; digest: Digest }>(
    db,
    `SELECT m.id, m.digest FROM manifests AS m WHERE m.repository_id = ? AND m.subject = ?
       AND NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.repository_id = m.repository_id AND t.digest = m.digest)`,
  );

  function isPinned(repositoryId: number, digest: Digest, now: number): boolean {
    return pinned.get(repositoryId, digest, now, now) !== undefined;
  }

  function isFetched({ id, repositoryId }: Candidate, { fetching }: EvictionRules): boolean {
    return fetching.length > 0 && refersTo.get(id, repositoryId, JSON.stringify(fetching)) !== undefined;
  }

  /** The manifest and its referrers; everything that they held goes into `freed`. */
  function removeTree(
    repositoryId: number,
    root: { readonly id: number; readonly digest: Digest },
    { now, freed }: { readonly now: number; readonly freed: Set<Digest> },
  ): void {
    const following = referrers.all(repositoryId, root.digest);
    freed.add(root.digest);
    for (const { child } of children.all(root.id)) freed.add(child);
    manifests.remove(repositoryId, root.digest, { event: "evicted", unreferencedAt: now, reviewAt: now });
    for (const referrer of following) {
      if (!isPinned(repositoryId, referrer.digest, now)) removeTree(repositoryId, referrer, { now, freed });
    }
  }

  return function evictManifest(
    cursor: string | null,
    rules: EvictionRules,
    limit: number,
  ): { readonly evicted: Eviction | null; readonly cursor: string | null } {
    const from = parseCursor(cursor);
    const size = Math.max(1, limit);
    const candidates = page.all(from.usedAt, from.id, rules.usedBefore, size);
    for (const candidate of candidates) {
      const { repositoryId, repository, digest, usedAt, id } = candidate;
      if (candidate.follows === 1 || isFetched(candidate, rules)) continue;
      const held = isPinned(repositoryId, digest, rules.now);
      if (held && (!rules.pinned || isPinned(repositoryId, digest, PINNED_FOR_EVER - 1))) continue;
      const freed = new Set<Digest>();
      removeTree(repositoryId, candidate, { now: rules.now, freed });
      return {
        evicted: { repository, digest, pinned: held, usedAt, blobs: [...freed] },
        cursor: printCursor({ usedAt, id }),
      };
    }
    const last = candidates.at(-1);
    return { evicted: null, cursor: candidates.length < size || !last ? null : printCursor(last) };
  };
}
