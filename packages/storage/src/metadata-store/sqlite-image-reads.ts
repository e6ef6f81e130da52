import type { DatabaseSync } from "node:sqlite";
import type { ImageRecord, ImageStore } from "./metadata-store.ts";
import { prepare } from "./sqlite-statement.ts";

type Owner = { readonly owner: string; readonly pinnedUntil: number | null; readonly platforms: readonly string[] };
type Row = { readonly reference: string; readonly owners: string };

const IMAGE = `SELECT i.reference, (SELECT json_group_array(
    json_object('owner', o.owner, 'pinnedUntil', o.pinned_until, 'platforms', json(o.platforms)) ORDER BY o.owner)
  FROM image_owners AS o WHERE o.reference = i.reference) AS owners`;

/** One image is what all its owners together want: every platform of any, the longest lease. */
function recordOf({ reference, owners: text }: Row): ImageRecord {
  const owners = JSON.parse(text) as readonly Owner[];
  const leases = owners.flatMap(({ pinnedUntil }) => (pinnedUntil === null ? [] : [pinnedUntil]));
  return {
    reference,
    owners: owners.map(({ owner }) => owner),
    pinnedUntil: leases.length > 0 ? Math.max(...leases) : null,
    platforms: [...new Set(owners.flatMap(({ platforms }) => platforms))].sort(),
  };
}

export function createImageReads(db: DatabaseSync): Pick<ImageStore, "image" | "listImages"> {
  const one = prepare<Row>(db, `${IMAGE} FROM images AS i WHERE i.reference = ?`);
  const page = prepare<Row>(db, `${IMAGE} FROM images AS i WHERE i.reference > ? ORDER BY i.reference LIMIT ?`);
  const pageOfOwner = prepare<Row>(
    db,
    `${IMAGE} FROM image_owners AS i WHERE i.owner = ? AND i.reference > ? ORDER BY i.reference LIMIT ?`,
  );

  return {
    async image(reference) {
      const row = one.get(reference);
      return row && recordOf(row);
    },
    async listImages({ owner, last = "", limit }) {
      const size = Math.max(0, Math.floor(limit));
      return (owner === undefined ? page.all(last, size) : pageOfOwner.all(owner, last, size)).map(recordOf);
    },
  };
}
