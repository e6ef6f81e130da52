import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ReviewRules } from "../metadata-store.ts";
import { LINK_BACKED, MANIFEST_PROTECTED } from "../protection-sql.ts";
import { type Candidate, removableAt } from "../removable-at.ts";
import { prepare } from "../sqlite-statement.ts";
import type { ReviewQueue } from "./queue.ts";
import type { Tags } from "./tags.ts";

type TagRow = {
  readonly repositoryId: number;
  readonly name: string;
  readonly upstream: string | null;
  readonly owned: number;
  readonly usedAt: number | null;
};
type ManifestRow = Candidate & {
  readonly id: number;
  readonly repositoryId: number;
  readonly digest: Digest;
  readonly protected: number;
};

/** Where the next page begins: strictly after these keys. Opaque to callers. */
type Cursor =
  | { readonly phase: "tags"; readonly repositoryId: number; readonly name: string }
  | { readonly phase: "manifests"; readonly id: number }
  | { readonly phase: "blobs"; readonly digest: string };

const START: Cursor = { phase: "tags", repositoryId: 0, name: "" };

type Deps = { readonly tags: Tags; readonly queue: ReviewQueue; readonly onTag?: (tag: UnusedTag) => void };

type UnusedTag = { readonly repositoryId: number; readonly name: string };

/**
 * The full pass: tags, manifests, blobs, in order of their keys. A page looks at `limit` rows, whatever it finds; `onTag` hears
 * of each tag that it drops.
 */
export function createSweep(db: DatabaseSync, { tags, queue, onTag = () => {} }: Deps) {
  const tagPage = prepare<TagRow>(
    db,
    `SELECT t.repository_id AS repositoryId, t.name, r.upstream,
       EXISTS (SELECT 1 FROM images AS i WHERE i.reference = r.name || ':' || t.name) AS owned,
       max(coalesce(m.pulled_at, 0), coalesce(m.put_at, 0)) AS usedAt
     FROM tags AS t JOIN repositories AS r ON r.id = t.repository_id
     LEFT JOIN manifests AS m ON m.repository_id = t.repository_id AND m.digest = t.digest
     WHERE (t.repository_id, t.name) > (?, ?) ORDER BY t.repository_id, t.name LIMIT ?`,
  );
  const manifestPage = prepare<ManifestRow>(
    db,
    `SELECT m.id, m.repository_id AS repositoryId, m.digest, r.upstream, m.put_at AS putAt, m.pulled_at AS pulledAt,
       m.unreferenced_at AS unreferencedAt, m.subject_seen AS subjectSeen, ${MANIFEST_PROTECTED} AS protected
     FROM manifests AS m JOIN repositories AS r ON r.id = m.repository_id WHERE m.id > ? ORDER BY m.id LIMIT ?`,
  );
  const blobPage = prepare<{ digest: Digest; needed: number }>(
    db,
    `SELECT b.digest, EXISTS (SELECT 1 FROM blob_links AS l WHERE l.digest = b.digest)
       AND NOT EXISTS (SELECT 1 FROM blob_links AS l WHERE l.digest = b.digest AND NOT ${LINK_BACKED}) AS needed
     FROM blobs AS b WHERE b.digest > ? AND b.state = 'live' ORDER BY b.digest LIMIT ?`,
  );

  function sweepTags(after: Cursor & { phase: "tags" }, rules: ReviewRules, limit: number): Cursor {
    const page = tagPage.all(after.repositoryId, after.name, limit);
    for (const { repositoryId, name, upstream, owned, usedAt } of page) {
      if (upstream === null || owned === 1 || (usedAt ?? 0) + rules.unusedFor > rules.now) continue;
      tags.remove(repositoryId, name, { event: "unused", now: rules.now });
      onTag({ repositoryId, name });
    }
    const last = page.at(-1);
    if (page.length < limit || !last) return { phase: "manifests", id: 0 };
    return { phase: "tags", repositoryId: last.repositoryId, name: last.name };
  }

  function sweepManifests(after: Cursor & { phase: "manifests" }, rules: ReviewRules, limit: number): Cursor {
    const page = manifestPage.all(after.id, limit);
    for (const row of page) {
      const at = row.protected === 1 ? Number.POSITIVE_INFINITY : removableAt(row, rules);
      if (at === Number.POSITIVE_INFINITY) continue;
      queue.unlessQueued(row.repositoryId, row.digest, Math.max(at, rules.now));
    }
    const last = page.at(-1);
    return page.length < limit || !last ? { phase: "blobs", digest: "" } : { phase: "manifests", id: last.id };
  }

  function sweepBlobs(after: Cursor & { phase: "blobs" }, rules: ReviewRules, limit: number): Cursor | null {
    const page = blobPage.all(after.digest, limit);
    for (const { digest, needed } of page) {
      if (needed === 0) queue.unlessQueued(null, digest, rules.now);
    }
    const last = page.at(-1);
    return page.length < limit || !last ? null : { phase: "blobs", digest: last.digest };
  }

  return function sweep(cursor: string | null, rules: ReviewRules, limit: number): string | null {
    const size = Math.max(1, limit);
    const from = cursor === null ? START : (JSON.parse(cursor) as Cursor);
    const next =
      from.phase === "tags"
        ? sweepTags(from, rules, size)
        : from.phase === "manifests"
          ? sweepManifests(from, rules, size)
          : sweepBlobs(from, rules, size);
    return next === null ? null : JSON.stringify(next);
  };
}
