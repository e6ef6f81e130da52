import type { DatabaseSync } from "node:sqlite";
import { type ManifestRow, recordOf } from "./manifest-row.ts";
import type { ManifestReference, MetadataStore } from "./metadata-store.ts";
import type { RecentRows } from "./sqlite-recent-rows.ts";
import { bounded, prepare, REPOSITORY_ID } from "./sqlite-statement.ts";

type ManifestReads = Pick<MetadataStore, "manifest" | "references" | "referrers" | "referrersAnswer" | "lastPulledAt">;

const RECORD = "digest, media_type AS mediaType, size, subject, artifact_type AS artifactType, annotations";

export function createManifestReads(db: DatabaseSync, recent: RecentRows): ManifestReads {
  const manifest = recent.over(
    prepare<ManifestRow>(db, `SELECT ${RECORD} FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = ?`),
  );
  const references = prepare<ManifestReference>(
    db,
    `SELECT child AS digest, kind, size FROM manifest_references WHERE manifest_id =
       (SELECT id FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = ?) ORDER BY position`,
  );
  const referrers = prepare<ManifestRow>(
    db,
    `SELECT ${RECORD} FROM manifests INDEXED BY manifests_by_subject
     WHERE repository_id = ${REPOSITORY_ID} AND subject = ? AND digest > ? ORDER BY digest LIMIT ?`,
  );
  const referrersOfType = prepare<ManifestRow>(
    db,
    `SELECT ${RECORD} FROM manifests INDEXED BY manifests_by_subject_and_type
     WHERE repository_id = ${REPOSITORY_ID} AND subject = ? AND artifact_type = ? AND digest > ?
     ORDER BY digest LIMIT ?`,
  );
  const answer = prepare<{ document: string; checkedAt: number }>(
    db,
    `SELECT document, checked_at AS checkedAt FROM referrers_answers WHERE manifest_id =
       (SELECT id FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = ?)`,
  );
  const pulledAt = prepare<{ pulledAt: number | null }>(
    db,
    `SELECT pulled_at AS pulledAt FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = ?`,
  );

  return {
    async manifest(repository, digest) {
      const row = manifest(repository, digest);
      return row && recordOf(row);
    },
    references: async (repository, digest) => references.all(repository, digest),
    async referrers(repository, subject, { artifactType, last = "", limit }) {
      const rows =
        artifactType === undefined
          ? referrers.all(repository, subject, last, bounded(limit))
          : referrersOfType.all(repository, subject, artifactType, last, bounded(limit));
      return rows.map(recordOf);
    },
    referrersAnswer: async (repository, subject) => answer.get(repository, subject),
    lastPulledAt: async (repository, digest) => pulledAt.get(repository, digest)?.pulledAt ?? null,
  };
}
