import type { Digest } from "@cache-registry/core/digest";
import type { BlobRecord, RepositoryKey, ReviewTask, TagRecord, UploadRecord } from "../metadata-store.ts";
import type { Reads } from "../sqlite-reads.ts";
import { createBlobHolderReads } from "./blob-holder-reads.ts";
import type { Database } from "./database.ts";
import { createImageReads } from "./image-reads.ts";
import { createManifestReads } from "./manifest-reads.ts";
import { bounded, repositoryId, sql } from "./statement.ts";

const HAS_REPOSITORY = sql("SELECT 1 FROM repositories WHERE name = $1");
const REPOSITORIES = sql<RepositoryKey>(
  "SELECT name, upstream FROM repositories WHERE manifests > 0 AND name > $1 ORDER BY name LIMIT $2",
);
const TAG = sql<TagRecord>(
  `SELECT name, digest, checked_at AS "checkedAt", stale_since AS "staleSince"
   FROM tags WHERE repository_id = ${repositoryId(1)} AND name = $2`,
);
const TAGS = sql<{ name: string }>(
  `SELECT name FROM tags WHERE repository_id = ${repositoryId(1)} AND name > $2 ORDER BY name LIMIT $3`,
);
const BLOB = sql<BlobRecord>("SELECT digest, size, generation FROM blobs WHERE digest = $1 AND state = 'live'");
const IS_LINKED = sql(
  `SELECT 1 FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
   WHERE l.repository_id = ${repositoryId(1)} AND l.digest = $2`,
);
const LOCAL_LINK = sql<{ name: string }>(
  `SELECT r.name FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
   JOIN repositories AS r ON r.id = l.repository_id AND r.upstream IS NULL WHERE l.digest = $1 LIMIT 1`,
);
const USAGE = sql<Awaited<ReturnType<Reads["usage"]>>>(
  `SELECT c.blobs + coalesce(sum(n.blobs), 0) AS blobs, c.blob_bytes + coalesce(sum(n.blob_bytes), 0) AS bytes,
     c.blob_bytes - c.pushed_bytes + coalesce(sum(n.blob_bytes - n.pushed_bytes), 0) AS "cachedBytes",
     c.manifests + coalesce(sum(n.manifests), 0) AS manifests,
     c.repositories + coalesce(sum(n.repositories), 0) AS repositories
   FROM counters AS c LEFT JOIN counter_changes AS n ON true WHERE c.id = 1 GROUP BY c.id`,
);
const UPLOAD_COLUMNS = 'id, repository, started_at AS "startedAt", touched_at AS "touchedAt"';
const UPLOAD = sql<UploadRecord>(`SELECT ${UPLOAD_COLUMNS} FROM uploads WHERE id = $1`);
const IDLE_UPLOADS = sql<UploadRecord>(
  `SELECT ${UPLOAD_COLUMNS} FROM uploads WHERE touched_at < $1 ORDER BY touched_at LIMIT $2`,
);
type DueRow = { readonly repository: string | null; readonly digest: Digest; readonly reason: string };

/** Due at `$1`, the oldest first, at most `$2`. */
export const DUE = sql<DueRow>(
  `SELECT r.name AS repository, q.digest, q.event AS reason FROM reviews AS q LEFT JOIN repositories AS r ON r.id = q.repository_id
   WHERE q.review_after <= $1 AND (q.repository_id = 0 OR r.id IS NOT NULL) ORDER BY q.review_after LIMIT $2`,
);
const BACKLOG = sql<{ nextAt: number | null; length: number }>(
  `SELECT (SELECT min(review_after) FROM reviews) AS "nextAt",
     (SELECT reviews FROM counters WHERE id = 1) + (SELECT coalesce(sum(reviews), 0) FROM counter_changes) AS length`,
);
const DELETING = sql<BlobRecord>(
  "SELECT digest, size, generation FROM blobs WHERE state = 'deleting' ORDER BY digest LIMIT $1",
);

const NOTHING = { blobs: 0, bytes: 0, cachedBytes: 0, manifests: 0, repositories: 0 };

/** Each is one statement: a look-up by key or a bounded page of an index. */
export function createReads(database: Pick<Database, "read">): Reads {
  const { read } = database;
  return {
    ...createImageReads(database),
    ...createManifestReads(database),
    ...createBlobHolderReads(database),
    hasRepository: (name) => read(async (db) => (await db.row(HAS_REPOSITORY, name)) !== undefined),
    listRepositories: ({ last = "", limit }) => read((db) => db.rows(REPOSITORIES, last, bounded(limit))),
    tag: (repository, name) => read((db) => db.row(TAG, repository, name)),
    listTags: (repository, { last = "", limit }) =>
      read(async (db) => (await db.rows(TAGS, repository, last, bounded(limit))).map(({ name }) => name)),
    blob: (digest) => read((db) => db.row(BLOB, digest)),
    isLinked: (repository, digest) => read(async (db) => (await db.row(IS_LINKED, repository, digest)) !== undefined),
    findLocalLink: (digest) => read(async (db) => (await db.row(LOCAL_LINK, digest))?.name),
    usage: () => read(async (db) => (await db.row(USAGE)) ?? NOTHING),
    upload: (id) => read((db) => db.row(UPLOAD, id)),
    idleUploads: (before, limit) => read((db) => db.rows(IDLE_UPLOADS, before, bounded(limit))),
    dueReviews: (now, limit) => read(async (db) => (await db.rows(DUE, now, bounded(limit))).map(taskOf)),
    reviewBacklog: () => read(async (db) => (await db.row(BACKLOG)) ?? { nextAt: null, length: 0 }),
    deletingBlobs: (limit) => read((db) => db.rows(DELETING, bounded(limit))),
  };
}

export function taskOf({ repository, digest, reason }: DueRow): ReviewTask {
  return repository === null ? { kind: "blob", digest, reason } : { kind: "manifest", repository, digest, reason };
}
