import type { BlobHolder, BlobLinkStore, BlobRecord } from "../metadata-store.ts";
import type { Database } from "./database.ts";
import { bounded, sql } from "./statement.ts";

const MAX_HOLDERS = 100;
const MAX_TAGS = 10;

const PAGE = sql<BlobRecord>(
  "SELECT digest, size, generation FROM blobs WHERE digest > $1 AND state = 'live' ORDER BY digest LIMIT $2",
);
const HOLDERS = sql<{ id: number; name: string; upstream: string | null }>(
  `SELECT r.id, r.name, r.upstream FROM blob_links AS l JOIN repositories AS r ON r.id = l.repository_id
   WHERE l.digest = $1 LIMIT ${MAX_HOLDERS}`,
);
// UNION, not UNION ALL: an index that is reached twice is climbed once.
const TAGS_ABOVE = sql<{ name: string }>(
  `WITH RECURSIVE above (digest) AS (
     SELECT $1::text COLLATE "C" UNION
     SELECT m.digest FROM above
       JOIN manifest_references AS p ON p.repository_id = $2 AND p.child = above.digest
       JOIN manifests AS m ON m.id = p.manifest_id)
   SELECT t.name FROM above JOIN tags AS t ON t.repository_id = $2 AND t.digest = above.digest LIMIT ${MAX_TAGS}`,
);

/** Reads for maintenance: pages of an index, and look-ups that climb from a blob to the tags above it. */
export function createBlobHolderReads({
  read,
}: Pick<Database, "read">): Pick<BlobLinkStore, "listBlobs" | "blobHolders"> {
  return {
    listBlobs: ({ last = "", limit }) => read((db) => db.rows(PAGE, last, bounded(limit))),
    blobHolders: (digest) =>
      read(async (db) => {
        const holders: BlobHolder[] = [];
        for (const { id, name, upstream } of await db.rows(HOLDERS, digest)) {
          const tags = (await db.rows(TAGS_ABOVE, digest, id)).map((tag) => tag.name);
          holders.push({ repository: { name, upstream }, tags: tags.sort() });
        }
        return holders.sort((a, b) => (a.repository.name < b.repository.name ? -1 : 1));
      }),
  };
}
