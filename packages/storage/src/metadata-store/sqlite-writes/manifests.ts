import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ManifestReference, PutManifest } from "../metadata-store.ts";
import type { Pull } from "../pull.ts";
import type { Removal } from "../review-event.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Blobs } from "./blobs.ts";
import type { Protection } from "./protection.ts";
import type { ReviewQueue } from "./queue.ts";
import type { Repositories } from "./repositories.ts";
import type { Tags } from "./tags.ts";
import { createUse } from "./use.ts";

export type Manifests = ReturnType<typeof createManifests>;

type Deps = {
  readonly repositories: Repositories;
  readonly protection: Protection;
  readonly tags: Tags;
  readonly blobs: Blobs;
  readonly queue: ReviewQueue;
  readonly grace: number;
};

export function createManifests(db: DatabaseSync, deps: Deps) {
  const { repositories, protection, tags, blobs, queue, grace } = deps;
  const use = createUse(db);
  const find = prepare<{ id: number }>(db, "SELECT id FROM manifests WHERE repository_id = ? AND digest = ?");
  // The row's `unreferenced_at` stays: a manifest put again without a tag is as unreferenced as before.
  const put = prepare<{ id: number }>(
    db,
    `INSERT INTO manifests
       (repository_id, digest, media_type, size, subject, artifact_type, annotations, put_at, used_at, cached)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
     ON CONFLICT DO UPDATE SET media_type = excluded.media_type, size = excluded.size, subject = excluded.subject,
       artifact_type = excluded.artifact_type, annotations = excluded.annotations, put_at = excluded.put_at
     RETURNING id`,
  );
  const clearReferences = prepare(db, "DELETE FROM manifest_references WHERE manifest_id = ?");
  const addReference = prepare(
    db,
    `INSERT INTO manifest_references (manifest_id, position, repository_id, child, kind, size)
     VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const children = prepare<{ child: Digest }>(db, "SELECT child FROM manifest_references WHERE manifest_id = ?");
  const referrers = prepare<{ digest: Digest }>(
    db,
    "SELECT digest FROM manifests WHERE repository_id = ? AND subject = ?",
  );
  const followSubject = prepare(
    db,
    "UPDATE manifests SET subject_seen = 1, unreferenced_at = NULL WHERE repository_id = ? AND subject = ?",
  );
  const followOwnSubject = prepare(
    db,
    `UPDATE manifests AS m SET subject_seen = 1 WHERE m.id = ? AND EXISTS (
       SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)`,
  );
  const remove = prepare(db, "DELETE FROM manifests WHERE id = ?");
  const recordPull = prepare(
    db,
    "UPDATE manifests SET pulled_at = max(coalesce(pulled_at, 0), ?) WHERE repository_id = ? AND digest = ?",
  );
  const recordPullByTag = prepare(
    db,
    `UPDATE manifests SET pulled_at = max(coalesce(pulled_at, 0), min(?1, coalesce(unreferenced_at, ?1)))
     WHERE repository_id = ?2 AND digest = ?3`,
  );
  const putAnswer = prepare(
    db,
    `INSERT INTO referrers_answers (manifest_id, document, checked_at) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET document = excluded.document, checked_at = excluded.checked_at`,
  );

  function missingReferences(name: string, references: readonly ManifestReference[]): Digest[] {
    const repository = repositories.find(name);
    const isHere = ({ digest, kind }: ManifestReference): boolean => {
      if (!repository) return false;
      return kind === "blob" ? blobs.isLinked(repository.id, digest) : find.get(repository.id, digest) !== undefined;
    };
    const missing = references.filter((reference) => reference.optional !== true && !isHere(reference));
    return [...new Set(missing.map(({ digest }) => digest))];
  }

  function setReferences(manifestId: number, repositoryId: number, references: readonly ManifestReference[]): void {
    clearReferences.run(manifestId);
    references.forEach(({ digest, kind, size }, position) => {
      addReference.run(manifestId, position, repositoryId, digest, kind, size);
      if (kind === "manifest") protection.gained(repositoryId, digest);
    });
  }

  /** The manifest with its references and tags; what it held is told of the loss. */
  function removeRow(repositoryId: number, manifest: { readonly id: number; readonly digest: Digest }, how: Removal) {
    const { event, unreferencedAt, reviewAt } = how;
    const held = new Set(children.all(manifest.id).map(({ child }) => child));
    clearReferences.run(manifest.id);
    tags.removeAll(repositoryId, manifest.digest);
    remove.run(manifest.id);
    queue.dropManifest(repositoryId, manifest.digest);
    queue.blob(manifest.digest, { at: reviewAt, event });
    for (const child of held) {
      queue.blob(child, { at: reviewAt, event });
      protection.lost(repositoryId, child, { event, at: unreferencedAt, reviewAt });
    }
    for (const { digest } of referrers.all(repositoryId, manifest.digest)) {
      protection.lost(repositoryId, digest, { event: "subject_deleted", at: unreferencedAt, reviewAt });
    }
  }

  return {
    put({ repository, manifest, references, tags: names, requireReferences, now }: PutManifest): {
      readonly missing: readonly Digest[];
    } {
      const missing = requireReferences ? missingReferences(repository.name, references) : [];
      if (missing.length > 0) return { missing };

      const { digest, mediaType, size, subject, artifactType, annotations } = manifest;
      const repositoryId = repositories.ensure(repository);
      const text = JSON.stringify(annotations);
      const cached = repository.upstream === null ? 0 : 1;
      const id = put.get(repositoryId, digest, mediaType, size, subject, artifactType, text, now, cached)?.id;
      if (id === undefined) throw new Error(`manifest ${digest} could not be written`);
      setReferences(id, repositoryId, references);
      use.record(repositoryId, digest, now);
      blobs.link(repositoryId, { digest, size, now });
      for (const name of names) tags.set(repositoryId, { name, digest, now });
      followSubject.run(repositoryId, digest);
      followOwnSubject.run(id);
      if (protection.isProtected(repositoryId, digest)) protection.gained(repositoryId, digest);
      else queue.manifest(repositoryId, digest, { at: now + grace, event: "manifest_put" });
      return { missing: [] };
    },

    /** False when it was not there. */
    remove(repositoryId: number, digest: Digest, how: Removal): boolean {
      const id = find.get(repositoryId, digest)?.id;
      if (id === undefined) return false;
      removeRow(repositoryId, { id, digest }, how);
      return true;
    },

    /** False when the subject is not there. */
    putReferrersAnswer(
      repositoryId: number,
      subject: Digest,
      { document, checkedAt }: { readonly document: string; readonly checkedAt: number },
    ): boolean {
      const id = find.get(repositoryId, subject)?.id;
      return id !== undefined && putAnswer.run(id, document, checkedAt) > 0;
    },

    recordPulls(pulls: readonly Pull[]): void {
      for (const { repository, digest, at, byTag } of pulls) {
        const id = repositories.find(repository)?.id;
        if (id === undefined) continue;
        (byTag ? recordPullByTag : recordPull).run(at, id, digest);
        use.record(id, digest, at);
      }
    },
  };
}
