import type { DatabaseSync } from "node:sqlite";
import { type ImageRow, imageOf } from "./image-row.ts";
import type { ImageStore } from "./metadata-store.ts";
import { prepare } from "./sqlite-statement.ts";

const IMAGE = `SELECT i.reference, (SELECT json_group_array(
    json_object('owner', o.owner, 'pinnedUntil', o.pinned_until, 'platforms', json(o.platforms)) ORDER BY o.owner)
  FROM image_owners AS o WHERE o.reference = i.reference) AS owners`;

export function createImageReads(db: DatabaseSync): Pick<ImageStore, "image" | "listImages"> {
  const one = prepare<ImageRow>(db, `${IMAGE} FROM images AS i WHERE i.reference = ?`);
  const page = prepare<ImageRow>(db, `${IMAGE} FROM images AS i WHERE i.reference > ? ORDER BY i.reference LIMIT ?`);
  const pageOfOwner = prepare<ImageRow>(
    db,
    `${IMAGE} FROM image_owners AS i WHERE i.owner = ? AND i.reference > ? ORDER BY i.reference LIMIT ?`,
  );

  return {
    async image(reference) {
      const row = one.get(reference);
      return row && imageOf(row);
    },
    async listImages({ owner, last = "", limit }) {
      const size = Math.max(0, Math.floor(limit));
      return (owner === undefined ? page.all(last, size) : pageOfOwner.all(owner, last, size)).map(imageOf);
    },
  };
}
