import { type Digest, isDigest } from "@cache-registry/core/digest";
import type { ImageRecord } from "./metadata-store.ts";

/** An image as the drivers select it: `owners` is a JSON array, by owner. */
export type ImageRow = { readonly reference: string; readonly owners: string };

type Owner = { readonly owner: string; readonly pinnedUntil: number | null; readonly platforms: readonly string[] };

/** One image is what all its owners together want: every platform of any, the longest lease. */
export function imageOf({ reference, owners: text }: ImageRow): ImageRecord {
  const owners = JSON.parse(text) as readonly Owner[];
  const leases = owners.flatMap(({ pinnedUntil }) => (pinnedUntil === null ? [] : [pinnedUntil]));
  return {
    reference,
    owners: owners.map(({ owner }) => owner),
    pinnedUntil: leases.length > 0 ? Math.max(...leases) : null,
    platforms: [...new Set(owners.flatMap(({ platforms }) => platforms))].sort(),
  };
}

/** `name[:tag]@digest` → its digest: such a reference holds the content, not the tag. */
export function digestIn(reference: string): Digest | undefined {
  const text = reference.slice(reference.indexOf("@") + 1);
  return isDigest(text) ? text : undefined;
}
