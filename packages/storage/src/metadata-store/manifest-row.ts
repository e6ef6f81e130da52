import type { ManifestRecord } from "./metadata-store.ts";

/** A manifest as the drivers select it: `annotations` is a JSON object. */
export type ManifestRow = Omit<ManifestRecord, "annotations"> & { readonly annotations: string };

export function recordOf(row: ManifestRow): ManifestRecord {
  return { ...row, annotations: JSON.parse(row.annotations) as Record<string, string> };
}
