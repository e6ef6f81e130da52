import type { BlobStoreConfig } from "../blob-store/config.ts";
import { type OpenBlobStoreDeps, openObjects } from "../blob-store/open.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

/** Beside the blobs of this configuration; undefined where nothing survives. */
export async function openSnapshotStore(
  config: BlobStoreConfig,
  deps: OpenBlobStoreDeps = {},
): Promise<SnapshotStore | undefined> {
  if (config.driver === "filesystem") {
    const { createFilesystemSnapshots } = await import("./filesystem-snapshots.ts");
    return createFilesystemSnapshots(config.filesystem.path);
  }
  const opened = await openObjects(config, deps);
  if (!opened) return undefined;
  const { createObjectSnapshots } = await import("./object-snapshots.ts");
  return createObjectSnapshots(opened.objects, opened.prefix);
}
