import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type {
  BlobRecord,
  MetadataStore,
  RepositoryKey,
  ReviewTask,
  TagRecord,
  UploadRecord,
} from "./metadata-store.ts";
import { createBlobHolderReads } from "./sqlite-blob-holder-reads.ts";
import { createImageReads } from "./sqlite-image-reads.ts";
import { createManifestReads } from "./sqlite-manifest-reads.ts";
import type { RecentRows } from "./sqlite-recent-rows.ts";
import { bounded, prepare, REPOSITORY_ID } from "./sqlite-statement.ts";

/** The methods of the port that read. */
type ReadName =
  | "hasRepository"
  | "listRepositories"
  | "manifest"
  | "references"
  | "referrers"
  | "referrersAnswer"
  | "tag"
  | "listTags"
  | "lastPulledAt"
  | "blob"
  | "isLinked"
  | "findLocalLink"
  | "listBlobs"
  | "blobHolders"
  | "usage"
  | "upload"
  | "idleUploads"
  | "image"
  | "listImages"
  | "dueReviews"
  | "reviewBacklog"
  | "deletingBlobs";

export type Reads = Pick<MetadataStore, ReadName>;

const UPLOAD = "SELECT id, repository, started_at AS startedAt, touched_at AS touchedAt FROM uploads";

/**
 * Reads on the main thread: each is a look-up by key or a bounded page of an index, microseconds long (rule 18). The
 * connection is read-only and sees what was committed before the call; `recent` what was acknowledged before it.
 */
export function createReads(db: DatabaseSync, recent: RecentRows): Reads {
  const hasRepository = prepare(db, "SELECT 1 FROM repositories WHERE name = ?");
  const repositories = prepare<RepositoryKey>(
    db,
    "SELECT name, upstream FROM repositories WHERE manifests > 0 AND name > ? ORDER BY name LIMIT ?",
  );
  const tag = recent.over(
    prepare<TagRecord>(
      db,
      `SELECT name, digest, checked_at AS checkedAt, stale_since AS staleSince
       FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = ?`,
    ),
  );
  const tags = prepare<{ name: string }>(
    db,
    `SELECT name FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name > ? ORDER BY name LIMIT ?`,
  );
  const blob = recent.over(
    prepare<BlobRecord>(db, "SELECT digest, size, generation FROM blobs WHERE digest = ? AND state = 'live'"),
  );
  const link = recent.over(
    prepare(
      db,
      `SELECT 1 FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
       WHERE l.repository_id = ${REPOSITORY_ID} AND l.digest = ?`,
    ),
  );
  const localLink = prepare<{ name: string }>(
    db,
    `SELECT r.name FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
     JOIN repositories AS r ON r.id = l.repository_id AND r.upstream IS NULL WHERE l.digest = ? LIMIT 1`,
  );
  const counters = prepare<{ name: string; value: number }>(db, "SELECT name, value FROM counters");
  const upload = prepare<UploadRecord>(db, `${UPLOAD} WHERE id = ?`);
  const idleUploads = prepare<UploadRecord>(db, `${UPLOAD} WHERE touched_at < ? ORDER BY touched_at LIMIT ?`);
  const dueReviews = prepare<{ repository: string | null; digest: Digest; reason: string }>(
    db,
    `SELECT r.name AS repository, q.digest, q.event AS reason FROM reviews AS q LEFT JOIN repositories AS r ON r.id = q.repository_id
     WHERE q.review_after <= ? ORDER BY q.review_after LIMIT ?`,
  );
  const nextReview = prepare<{ nextAt: number | null }>(db, "SELECT min(review_after) AS nextAt FROM reviews");
  const deleting = prepare<BlobRecord>(
    db,
    "SELECT digest, size, generation FROM blobs WHERE state = 'deleting' ORDER BY digest LIMIT ?",
  );

  const counter = (name: string): number => counters.all().find((row) => row.name === name)?.value ?? 0;

  return {
    ...createBlobHolderReads(db),
    ...createImageReads(db),
    ...createManifestReads(db, recent),
    hasRepository: async (name) => hasRepository.get(name) !== undefined,
    listRepositories: async ({ last = "", limit }) => repositories.all(last, bounded(limit)),
    tag: async (repository, name) => tag(repository, name),
    listTags: async (repository, { last = "", limit }) =>
      tags.all(repository, last, bounded(limit)).map(({ name }) => name),
    blob: async (digest) => blob(digest),
    isLinked: async (repository, digest) => link(repository, digest) !== undefined,
    findLocalLink: async (digest) => localLink.get(digest)?.name,
    usage: async () => ({
      blobs: counter("blobs"),
      bytes: counter("blob_bytes"),
      cachedBytes: counter("blob_bytes") - counter("pushed_bytes"),
      manifests: counter("manifests"),
      repositories: counter("repositories"),
    }),
    upload: async (id) => upload.get(id),
    idleUploads: async (before, limit) => idleUploads.all(before, bounded(limit)),
    dueReviews: async (now, limit) =>
      dueReviews
        .all(now, bounded(limit))
        .map(
          ({ repository, digest, reason }): ReviewTask =>
            repository === null ? { kind: "blob", digest, reason } : { kind: "manifest", repository, digest, reason },
        ),
    reviewBacklog: async () => ({ nextAt: nextReview.get()?.nextAt ?? null, length: counter("reviews") }),
    deletingBlobs: async (limit) => deleting.all(bounded(limit)),
  };
}
