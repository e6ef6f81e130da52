import type { Digest } from "@cache-registry/core/digest";
import type { RepositoryStore } from "../metadata-store.ts";
import { repositoryId, type Session, sql } from "../postgres/statement.ts";
import type { ReviewEvent } from "../review-event.ts";
import { gained, lost } from "./protection.ts";

const FIND = sql<{ digest: Digest }>("SELECT digest FROM tags WHERE repository_id = $1 AND name = ANY($2::text[])");
const PUT = sql(
  `INSERT INTO tags (repository_id, name, digest, checked_at, stale_since)
   SELECT $1, t.name, $3, $4, NULL FROM unnest($2::text[]) AS t (name)
   ON CONFLICT (repository_id, name)
     DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at, stale_since = NULL`,
);
const REMOVE = sql<{ digest: Digest }>("DELETE FROM tags WHERE repository_id = $1 AND name = $2 RETURNING digest");
const MARK = sql(
  `UPDATE tags SET checked_at = coalesce($3, checked_at), stale_since = $4
   WHERE repository_id = ${repositoryId(1)} AND name = $2`,
);

/** What the tags lead to now, of those that are there. */
export async function findTags(session: Session, id: number, names: readonly string[]): Promise<Digest[]> {
  if (names.length === 0) return [];
  return (await session.rows(FIND, id, names)).map(({ digest }) => digest);
}

/** The manifest must be there already. `previous`: what `findTags` told under the same lock. */
export async function setTags(
  session: Session,
  tags: { readonly repositoryId: number; readonly names: readonly string[]; readonly previous: readonly Digest[] },
  { digest, now, grace }: { readonly digest: Digest; readonly now: number; readonly grace: number },
): Promise<void> {
  const { repositoryId: id, names, previous } = tags;
  if (names.length === 0) return;
  const moved = new Set(previous.filter((held) => held !== digest));
  await Promise.all([
    session.run(PUT, id, [...new Set(names)], digest, now),
    gained(session, id, [digest]),
    lost(session, id, [...moved], { event: "tag_moved", at: now, reviewAt: now + grace }),
  ]);
}

/** False when it was not there. */
export async function removeTag(
  session: Session,
  id: number,
  name: string,
  how: { readonly event: ReviewEvent; readonly now: number; readonly grace: number },
): Promise<boolean> {
  const removed = await session.row(REMOVE, id, name);
  if (!removed) return false;
  await lost(session, id, [removed.digest], { event: how.event, at: how.now, reviewAt: how.now + how.grace });
  return true;
}

export async function markTag(session: Session, ...[name, tag, state]: Parameters<RepositoryStore["markTag"]>) {
  await session.run(MARK, name, tag, state.checkedAt ?? null, state.staleSince);
}
