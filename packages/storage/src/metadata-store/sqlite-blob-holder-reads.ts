import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobHolder, BlobLinkStore, BlobRecord } from "./metadata-store.ts";
import { bounded, prepare } from "./sqlite-statement.ts";

const MAX_HOLDERS = 100;
const MAX_TAGS = 10;

/** Reads for maintenance: pages of an index, and look-ups that climb from a blob to the tags above it. */
export function createBlobHolderReads(db: DatabaseSync): Pick<BlobLinkStore, "listBlobs" | "blobHolders"> {
  const page = prepare<BlobRecord>(
    db,
    "SELECT digest, size, generation FROM blobs WHERE digest > ? AND state = 'live' ORDER BY digest LIMIT ?",
  );
  const holders = prepare<{ id: number; name: string; upstream: string | null }>(
    db,
    `SELECT r.id, r.name, r.upstream FROM blob_links AS l JOIN repositories AS r ON r.id = l.repository_id
     WHERE l.digest = ? LIMIT ${MAX_HOLDERS}`,
  );
  // UNION, not UNION ALL: an index that is reached twice is climbed once.
  const tagsAbove = prepare<{ name: string }>(
    db,
    `WITH RECURSIVE above (digest) AS (
       SELECT ?1 UNION
       SELECT m.digest FROM above
         JOIN manifest_references AS p ON p.repository_id = ?2 AND p.child = above.digest
         JOIN manifests AS m ON m.id = p.manifest_id)
     SELECT t.name FROM above CROSS JOIN tags AS t ON t.repository_id = ?2 AND t.digest = above.digest LIMIT ${MAX_TAGS}`,
  );

  return {
    listBlobs: async ({ last = "", limit }) => page.all(last, bounded(limit)),
    blobHolders: async (digest: Digest) =>
      holders
        .all(digest)
        .map(
          ({ id, name, upstream }): BlobHolder => ({
            repository: { name, upstream },
            tags: tagsAbove
              .all(digest, id)
              .map((tag) => tag.name)
              .sort(),
          }),
        )
        .sort((a, b) => (a.repository.name < b.repository.name ? -1 : 1)),
  };
}
