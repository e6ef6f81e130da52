import { type ImageRow, imageOf } from "../image-row.ts";
import type { ImageStore } from "../metadata-store.ts";
import type { Database } from "./database.ts";
import { bounded, sql } from "./statement.ts";

const IMAGE = `SELECT i.reference, coalesce((SELECT json_agg(json_build_object(
    'owner', o.owner, 'pinnedUntil', o.pinned_until, 'platforms', o.platforms::json) ORDER BY o.owner)
  FROM image_owners AS o WHERE o.reference = i.reference), '[]')::text AS owners`;

const ONE = sql<ImageRow>(`${IMAGE} FROM images AS i WHERE i.reference = $1`);
const PAGE = sql<ImageRow>(`${IMAGE} FROM images AS i WHERE i.reference > $1 ORDER BY i.reference LIMIT $2`);
const PAGE_OF_OWNER = sql<ImageRow>(
  `${IMAGE} FROM image_owners AS i WHERE i.owner = $1 AND i.reference > $2 ORDER BY i.reference LIMIT $3`,
);

export function createImageReads({ read }: Pick<Database, "read">): Pick<ImageStore, "image" | "listImages"> {
  return {
    image: (reference) =>
      read(async (db) => {
        const row = await db.row(ONE, reference);
        return row && imageOf(row);
      }),
    listImages: ({ owner, last = "", limit }) =>
      read(async (db) => {
        const size = bounded(limit);
        const rows = owner === undefined ? db.rows(PAGE, last, size) : db.rows(PAGE_OF_OWNER, owner, last, size);
        return (await rows).map(imageOf);
      }),
  };
}
