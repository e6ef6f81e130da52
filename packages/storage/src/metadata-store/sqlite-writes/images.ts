import type { DatabaseSync } from "node:sqlite";
import { digestIn } from "../image-row.ts";
import type { ImageStore } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Protection } from "./protection.ts";
import type { Repositories } from "./repositories.ts";
import type { Tags } from "./tags.ts";

type PutImage = Parameters<ImageStore["putImage"]>[0];
type ReleaseImage = Parameters<ImageStore["releaseImage"]>[0];

export type Images = ReturnType<typeof createImages>;

type Deps = {
  readonly repositories: Repositories;
  readonly protection: Protection;
  readonly tags: Tags;
  readonly grace: number;
};

export function createImages(db: DatabaseSync, { repositories, protection, tags, grace }: Deps) {
  const put = prepare(db, "INSERT INTO images (reference, digest) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const putOwner = prepare(
    db,
    `INSERT INTO image_owners (reference, owner, pinned_until, platforms) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET pinned_until = coalesce(excluded.pinned_until, pinned_until),
       platforms = excluded.platforms`,
  );
  const removeOwner = prepare(db, "DELETE FROM image_owners WHERE reference = ? AND owner = ?");
  const anyOwner = prepare(db, "SELECT 1 FROM image_owners WHERE reference = ? LIMIT 1");
  const remove = prepare(db, "DELETE FROM images WHERE reference = ?");
  const holders = prepare<{ repositoryId: number }>(
    db,
    "SELECT repository_id AS repositoryId FROM manifests WHERE digest = ?",
  );

  return {
    put({ reference, owner, pinnedUntil, platforms }: PutImage): void {
      const digest = digestIn(reference);
      put.run(reference, digest ?? null);
      putOwner.run(reference, owner, pinnedUntil ?? null, JSON.stringify(platforms));
      if (digest === undefined) return;
      for (const { repositoryId } of holders.all(digest)) protection.gained(repositoryId, digest);
    },

    release({ reference, owner, target, now }: ReleaseImage): boolean {
      if (removeOwner.run(reference, owner) === 0) return false;
      if (anyOwner.get(reference) !== undefined) return true;
      remove.run(reference);
      const repository = repositories.find(target.repository);
      // A local tag was pushed by somebody and is theirs: no owner's release takes it away.
      if (target.tag !== undefined && repository && repository.upstream !== null) {
        tags.remove(repository.id, target.tag, { event: "image_released", now });
      }
      const digest = target.digest ?? digestIn(reference);
      if (digest === undefined) return true;
      for (const { repositoryId } of holders.all(digest)) {
        protection.lost(repositoryId, digest, { event: "image_released", at: now, reviewAt: now + grace });
      }
      return true;
    },
  };
}
