import type { Digest } from "@cache-registry/core/digest";
import { digestIn } from "../image-row.ts";
import type { ImageStore } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { gained, lost } from "./protection.ts";
import { lockRepositories } from "./repositories.ts";
import { removeTag } from "./tags.ts";

type PutImage = Parameters<ImageStore["putImage"]>[0];
type ReleaseImage = Parameters<ImageStore["releaseImage"]>[0];

/* The row of an image is taken before those of repositories. */

const PUT = sql(
  `INSERT INTO images (reference, digest) VALUES ($1, $2)
   ON CONFLICT (reference) DO UPDATE SET digest = excluded.digest`,
);
const PUT_OWNER = sql(
  `INSERT INTO image_owners AS o (reference, owner, pinned_until, platforms) VALUES ($1, $2, $3, $4)
   ON CONFLICT (reference, owner) DO UPDATE SET
     pinned_until = coalesce(excluded.pinned_until, o.pinned_until), platforms = excluded.platforms`,
);
const LOCK = sql("SELECT 1 FROM images WHERE reference = $1 FOR UPDATE");
const REMOVE_OWNER = sql("DELETE FROM image_owners WHERE reference = $1 AND owner = $2");
const ANY_OWNER = sql("SELECT 1 FROM image_owners WHERE reference = $1 LIMIT 1");
const REMOVE = sql("DELETE FROM images WHERE reference = $1");
const HOLDERS = sql<{ repositoryId: number }>(
  'SELECT repository_id AS "repositoryId" FROM manifests WHERE digest = $1',
);
const FIND_REPOSITORY = sql<{ id: number; upstream: string | null }>(
  "SELECT id, upstream FROM repositories WHERE name = $1",
);

async function holdersOf(session: Session, digest: Digest | undefined): Promise<number[]> {
  if (digest === undefined) return [];
  return (await session.rows(HOLDERS, digest)).map(({ repositoryId }) => repositoryId);
}

export async function putImage(session: Session, put: PutImage): Promise<void> {
  const { reference, owner, pinnedUntil, platforms } = put;
  const digest = digestIn(reference);
  await session.run(PUT, reference, digest ?? null);
  await session.run(PUT_OWNER, reference, owner, pinnedUntil ?? null, JSON.stringify(platforms));
  if (digest === undefined) return;
  // With these locks no review of the manifest is between its look at the images and the removal.
  for (const id of await lockRepositories(session, await holdersOf(session, digest))) {
    await gained(session, id, [digest]);
  }
}

export async function releaseImage(session: Session, grace: number, release: ReleaseImage): Promise<boolean> {
  const { reference, owner, target, now } = release;
  if (!(await session.row(LOCK, reference))) return false;
  if ((await session.run(REMOVE_OWNER, reference, owner)) === 0) return false;
  if (await session.row(ANY_OWNER, reference)) return true;
  await session.run(REMOVE, reference);

  const digest = target.digest ?? digestIn(reference);
  // A local tag was pushed by somebody and is theirs: no owner's release takes it away.
  const found = target.tag === undefined ? undefined : await session.row(FIND_REPOSITORY, target.repository);
  const tagged = found && found.upstream !== null ? [found.id] : [];
  const holders = await holdersOf(session, digest);
  const locked = new Set(await lockRepositories(session, [...tagged, ...holders]));
  for (const id of tagged) {
    if (target.tag !== undefined && locked.has(id)) {
      await removeTag(session, id, target.tag, { event: "image_released", now, grace });
    }
  }
  if (digest === undefined) return true;
  for (const id of new Set(holders)) {
    if (locked.has(id)) await lost(session, id, [digest], { event: "image_released", at: now, reviewAt: now + grace });
  }
  return true;
}
