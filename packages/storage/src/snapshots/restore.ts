import { constants } from "node:fs";
import { access, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { syncFolder } from "@cache-registry/runtime/sync-folder";
import { extractSnapshot } from "./snapshot-file.ts";
import { type SnapshotName, type SnapshotStore, UnreadableSnapshotError } from "./snapshot-store.ts";

/** SQLite's own files beside a database. */
const COMPANIONS = ["", "-wal", "-shm"];

/**
 * Beside a database that came out of a snapshot, until `cache-registry rebuild` has compared it with the blobs: content that
 * is newer than the snapshot has no row, and must not be taken for garbage.
 */
const restoredMark = (path: string): string => `${path}.restored`;

export async function isRestored(path: string): Promise<boolean> {
  return exists(restoredMark(path));
}

/** Blobs were found beside a database that is new: the same caution. */
export async function markRestored(path: string): Promise<void> {
  await touch(restoredMark(path));
}

export async function clearRestored(path: string): Promise<void> {
  await rm(restoredMark(path), { force: true });
  await rm(newMark(path), { force: true });
}

/** Beside a database that is about to be made, until it was seen whether there is anything older than it. */
const newMark = (path: string): string => `${path}.new`;

/** Before the database is made: whatever happens then, it is known to be new. */
export async function markNew(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await touch(newMark(path));
}

export async function isNew(path: string): Promise<boolean> {
  return exists(newMark(path));
}

/** It was looked for what is older than the new database; where there is, the mark becomes that of a restored one. */
export async function settleNew(path: string, { older }: { readonly older: boolean }): Promise<void> {
  if (older) await rename(newMark(path), restoredMark(path));
  else await rm(newMark(path), { force: true });
}

async function touch(path: string): Promise<void> {
  await (await open(path, "a", 0o600)).close();
}

/** Is there a database at all? An empty file is none. */
export async function hasDatabase(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && found.size > 0;
}

export type Restored = {
  readonly name: SnapshotName;
  /** Newer ones that could not be used, and why. */
  readonly refused: readonly { readonly name: SnapshotName; readonly reason: string }[];
};

/**
 * Puts the newest good snapshot (or the named one) where the database was; what was there is moved aside, never removed. A
 * crash leaves either the old state or the new one. Nobody may have the database open.
 * @returns undefined when no snapshot can be used. @throws Error when the store of the snapshots is out of reach
 */
export async function restoreSnapshot(
  store: SnapshotStore,
  path: string,
  { only, aside }: { readonly only?: SnapshotName | undefined; readonly aside: string },
): Promise<{ readonly restored: Restored | undefined; readonly refused: Restored["refused"] }> {
  const refused: { name: SnapshotName; reason: string }[] = [];
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const [file, database] = [`${path}.snapshot`, `${path}.restoring`];
  for (const name of only === undefined ? await store.list() : [only]) {
    try {
      await rm(file, { force: true });
      await store.read(name, file);
      await extractSnapshot(name, file, database);
    } catch (error) {
      if (!(error instanceof UnreadableSnapshotError)) throw error;
      refused.push({ name, reason: messageOf(error) });
      continue;
    } finally {
      await rm(file, { force: true });
    }
    // The mark first: whatever happens from here on, nothing is taken for garbage.
    await markRestored(path);
    await moveAside(path, aside);
    await rename(database, path);
    await syncFolder(dirname(path));
    return { restored: { name, refused }, refused };
  }
  await rm(database, { force: true });
  return { restored: undefined, refused };
}

/** The database and SQLite's files beside it, under names that end in `aside`. */
export async function moveAside(path: string, aside: string): Promise<void> {
  for (const companion of COMPANIONS) {
    if (await exists(`${path}${companion}`)) await rename(`${path}${companion}`, `${path}${companion}${aside}`);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}
