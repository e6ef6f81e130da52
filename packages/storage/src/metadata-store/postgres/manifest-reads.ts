import { type ManifestRow, recordOf } from "../manifest-row.ts";
import type { ManifestReference, MetadataStore } from "../metadata-store.ts";
import type { Database } from "./database.ts";
import { bounded, repositoryId, sql } from "./statement.ts";

type ManifestReads = Pick<MetadataStore, "manifest" | "references" | "referrers" | "referrersAnswer" | "lastPulledAt">;

const RECORD = 'digest, media_type AS "mediaType", size, subject, artifact_type AS "artifactType", annotations';
const OF_DIGEST = `WHERE repository_id = ${repositoryId(1)} AND digest = $2`;
const MANIFEST = sql<ManifestRow>(`SELECT ${RECORD} FROM manifests ${OF_DIGEST}`);
const REFERENCES = sql<ManifestReference>(
  `SELECT child AS digest, kind, size FROM manifest_references
   WHERE manifest_id = (SELECT id FROM manifests ${OF_DIGEST}) ORDER BY position`,
);
const REFERRERS = sql<ManifestRow>(
  `SELECT ${RECORD} FROM manifests WHERE repository_id = ${repositoryId(1)} AND subject = $2 AND digest > $3
   ORDER BY digest LIMIT $4`,
);
const REFERRERS_OF_TYPE = sql<ManifestRow>(
  `SELECT ${RECORD} FROM manifests WHERE repository_id = ${repositoryId(1)} AND subject = $2
     AND md5(artifact_type) = md5($3) AND artifact_type = $3 AND digest > $4 ORDER BY digest LIMIT $5`,
);
const ANSWER = sql<{ document: string; checkedAt: number }>(
  `SELECT document, checked_at AS "checkedAt" FROM referrers_answers
   WHERE manifest_id = (SELECT id FROM manifests ${OF_DIGEST})`,
);
const PULLED_AT = sql<{ pulledAt: number | null }>(`SELECT pulled_at AS "pulledAt" FROM manifests ${OF_DIGEST}`);

export function createManifestReads({ read }: Pick<Database, "read">): ManifestReads {
  return {
    manifest: (repository, digest) =>
      read(async (db) => {
        const row = await db.row(MANIFEST, repository, digest);
        return row && recordOf(row);
      }),
    references: (repository, digest) => read((db) => db.rows(REFERENCES, repository, digest)),
    referrers: (repository, subject, { artifactType, last = "", limit }) =>
      read(async (db) => {
        const rows =
          artifactType === undefined
            ? await db.rows(REFERRERS, repository, subject, last, bounded(limit))
            : await db.rows(REFERRERS_OF_TYPE, repository, subject, artifactType, last, bounded(limit));
        return rows.map(recordOf);
      }),
    referrersAnswer: (repository, subject) => read((db) => db.row(ANSWER, repository, subject)),
    lastPulledAt: (repository, digest) =>
      read(async (db) => (await db.row(PULLED_AT, repository, digest))?.pulledAt ?? null),
  };
}
