import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobRecord, ReviewRules } from "../metadata-store.ts";
import { LINK_BACKED } from "../protection-sql.ts";
import { prepare } from "../sqlite-statement.ts";
import type { ReviewQueue } from "./queue.ts";

type Row = BlobRecord & { readonly state: "live" | "deleting" };

/** SQL: when link `l` may go if nothing backs it. Parameters: the grace of local repositories, that of upstream ones. */
const LINK_EXPIRES = `(max(l.linked_at, l.touched_at)
  + iif((SELECT r.upstream FROM repositories AS r WHERE r.id = l.repository_id) IS NULL, ?, ?))`;

export type Blobs = ReturnType<typeof createBlobs>;

export function createBlobs(db: DatabaseSync, queue: ReviewQueue, grace: number) {
  const find = prepare<Row>(db, "SELECT digest, size, generation, state FROM blobs WHERE digest = ?");
  const put = prepare(
    db,
    `INSERT INTO blobs (digest, size, generation, state) VALUES (?, ?, ?, 'live')
     ON CONFLICT DO UPDATE SET size = excluded.size, generation = excluded.generation, state = 'live'`,
  );
  // One count for all blobs: a blob that is forgotten and comes back gets a number that no late removal can hold.
  const nextGeneration = prepare<{ value: number }>(
    db,
    "UPDATE counters SET value = value + 1 WHERE name = 'generation' RETURNING value",
  );
  const link = prepare(
    db,
    `INSERT INTO blob_links (digest, repository_id, linked_at, touched_at) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET linked_at = max(linked_at, excluded.linked_at)`,
  );
  const isBacked = prepare<{ backed: number }>(
    db,
    `SELECT ${LINK_BACKED} AS backed FROM blob_links AS l WHERE l.digest = ? AND l.repository_id = ?`,
  );
  const isLinked = prepare(
    db,
    `SELECT 1 FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
     WHERE l.digest = ? AND l.repository_id = ?`,
  );
  const unlink = prepare(db, "DELETE FROM blob_links WHERE digest = ? AND repository_id = ?");
  const unlinkAll = prepare(db, "DELETE FROM blob_links WHERE digest = ?");
  const touch = prepare(
    db,
    `UPDATE blob_links SET touched_at = max(touched_at, ?)
     WHERE digest = ? AND repository_id = (SELECT id FROM repositories WHERE name = ?)`,
  );
  const remove = prepare(db, "DELETE FROM blobs WHERE digest = ?");
  const dropLinks = prepare(
    db,
    `DELETE FROM blob_links AS l WHERE l.digest = ? AND ${LINK_EXPIRES} <= ? AND NOT ${LINK_BACKED}`,
  );
  const remaining = prepare<{ links: number; nextAt: number | null }>(
    db,
    `SELECT count(*) AS links, min(CASE WHEN ${LINK_BACKED} THEN NULL ELSE ${LINK_EXPIRES} END) AS nextAt
     FROM blob_links AS l WHERE l.digest = ?`,
  );
  const startDeleting = prepare(db, "UPDATE blobs SET state = 'deleting' WHERE digest = ?");
  const finish = prepare(db, "DELETE FROM blobs WHERE digest = ? AND generation = ? AND state = 'deleting'");

  function record({ digest, size, generation }: Row): BlobRecord {
    return { digest, size, generation };
  }

  return {
    isLinked: (repositoryId: number, digest: Digest): boolean => isLinked.get(digest, repositoryId) !== undefined,

    /** Is there such a blob for a link without bytes of its own? */
    isLive: (digest: Digest): boolean => find.get(digest)?.state === "live",

    /** `size` undefined: the blob must be live. */
    link(repositoryId: number, blob: { readonly digest: Digest; readonly size?: number; readonly now: number }): void {
      const { digest, size, now } = blob;
      if (size !== undefined && find.get(digest)?.state !== "live") {
        put.run(digest, size, nextGeneration.get()?.value ?? 0);
      }
      link.run(digest, repositoryId, now, now);
      // Bytes fetched for a manifest that is here already need no review before that manifest goes.
      if (isBacked.get(digest, repositoryId)?.backed === 1) return;
      queue.blob(digest, { at: now + grace, event: "blob_linked" });
    },

    unlink(repositoryId: number, digest: Digest, now: number): boolean {
      if (unlink.run(digest, repositoryId) === 0) return false;
      queue.blob(digest, { at: now + grace, event: "blob_unlinked" });
      return true;
    },

    touch(touches: readonly { readonly repository: string; readonly digest: Digest; readonly at: number }[]): void {
      for (const { repository, digest, at } of touches) touch.run(at, digest, repository);
    },

    forget(digest: Digest): void {
      unlinkAll.run(digest);
      remove.run(digest);
      queue.dropBlob(digest);
    },

    beginDeletion(digest: Digest, rules: ReviewRules): BlobRecord | undefined {
      const row = find.get(digest);
      if (row?.state === "deleting") return record(row);
      if (!row) {
        queue.dropBlob(digest);
        return undefined;
      }
      const { grace: localGrace, cachedGrace = localGrace } = rules;
      dropLinks.run(digest, localGrace, cachedGrace, rules.now);
      const { links, nextAt } = remaining.get(localGrace, cachedGrace, digest) ?? { links: 0, nextAt: null };
      if (nextAt !== null) {
        queue.postpone(null, digest, nextAt);
        return undefined;
      }
      if (links > 0) {
        queue.dropBlob(digest);
        return undefined;
      }
      // Stays due until the bytes are gone, so that a removal that fails is tried again.
      queue.blob(digest, { at: rules.now, event: "deleting" });
      startDeleting.run(digest);
      return record(row);
    },

    finishDeletion(digest: Digest, generation: number): void {
      if (finish.run(digest, generation) > 0) queue.dropBlob(digest);
    },
  };
}
