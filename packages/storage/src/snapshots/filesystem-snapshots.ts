import { constants } from "node:fs";
import { copyFile, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { errnoOf, isAbsent, storeError } from "../blob-store/filesystem-errors.ts";
import { newestFirst, type SnapshotStore, UnreadableSnapshotError } from "./snapshot-store.ts";

const UNFINISHED = ".unfinished";

/** `snapshots/` in the folder of the blobs. */
export function createFilesystemSnapshots(root: string): SnapshotStore {
  const folder = join(root, "snapshots");
  return {
    async list() {
      try {
        return newestFirst(await readdir(folder));
      } catch (error) {
        if (isAbsent(error)) return [];
        throw error;
      }
    },
    async write(name, file) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // What a process that was killed left of another one.
      for (const left of await readdir(folder)) if (left.endsWith(UNFINISHED)) await rm(join(folder, left));
      const unfinished = join(folder, `${name}${UNFINISHED}`);
      await copyFile(file, unfinished);
      await sync(unfinished, constants.O_RDWR);
      await rename(unfinished, join(folder, name));
      await sync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    },
    async read(name, file) {
      try {
        await copyFile(join(folder, name), file, constants.COPYFILE_EXCL);
      } catch (error) {
        if (errnoOf(error) === "ENOSPC") throw storeError(error);
        throw new UnreadableSnapshotError(messageOf(error), { cause: error });
      }
    },
    async remove(name) {
      await rm(join(folder, name), { force: true });
    },
    close() {},
  };
}

async function sync(path: string, flags: number): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
