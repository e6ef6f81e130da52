import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ReviewEvent } from "../review-event.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Protection } from "./protection.ts";

export type TagChange = { readonly event: ReviewEvent; readonly now: number };

export type Tags = ReturnType<typeof createTags>;

export function createTags(db: DatabaseSync, protection: Protection, grace: number) {
  const find = prepare<{ digest: Digest }>(db, "SELECT digest FROM tags WHERE repository_id = ? AND name = ?");
  const put = prepare(
    db,
    `INSERT INTO tags (repository_id, name, digest, checked_at, stale_since) VALUES (?, ?, ?, ?, NULL)
     ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at, stale_since = NULL`,
  );
  const remove = prepare<{ digest: Digest }>(
    db,
    "DELETE FROM tags WHERE repository_id = ? AND name = ? RETURNING digest",
  );
  const mark = prepare(
    db,
    `UPDATE tags SET checked_at = coalesce(?, checked_at), stale_since = ?
     WHERE repository_id = (SELECT id FROM repositories WHERE name = ?) AND name = ?`,
  );
  const removeAll = prepare(db, "DELETE FROM tags WHERE repository_id = ? AND digest = ?");

  return {
    /** The manifest must be there already. */
    set(repositoryId: number, tag: { readonly name: string; readonly digest: Digest; readonly now: number }): void {
      const previous = find.get(repositoryId, tag.name)?.digest;
      put.run(repositoryId, tag.name, tag.digest, tag.now);
      protection.gained(repositoryId, tag.digest);
      if (previous !== undefined && previous !== tag.digest) {
        protection.lost(repositoryId, previous, { event: "tag_moved", at: tag.now, reviewAt: tag.now + grace });
      }
    },
    /** False when it was not there. */
    remove(repositoryId: number, name: string, { event, now }: TagChange): boolean {
      const digest = remove.get(repositoryId, name)?.digest;
      if (digest === undefined) return false;
      protection.lost(repositoryId, digest, { event, at: now, reviewAt: now + grace });
      return true;
    },
    removeAll(repositoryId: number, digest: Digest): void {
      removeAll.run(repositoryId, digest);
    },
    mark(
      repository: string,
      name: string,
      state: { readonly checkedAt?: number; readonly staleSince: number | null },
    ): void {
      mark.run(state.checkedAt ?? null, state.staleSince, repository, name);
    },
  };
}
