import { rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { writeSnapshotFile } from "./snapshot-file.ts";
import { digestOfSnapshot, type SnapshotName, type SnapshotStore, snapshotName } from "./snapshot-store.ts";

export type SnapshotterOptions = {
  /** The database file, open elsewhere in this process. */
  readonly path: string;
  readonly store: SnapshotStore;
  /** Older ones than so many are removed. */
  readonly keep: number;
  readonly now?: () => Date;
};

/** Takes snapshots of a SQLite database that is in use. */
export type Snapshotter = {
  /** Undefined when nothing has changed since the last one. */
  take(): Promise<SnapshotName | undefined>;
  close(): void;
};

export function createSnapshotter({ path, store, keep, now = () => new Date() }: SnapshotterOptions): Snapshotter {
  // A connection of its own: the readers' one is not held up, and it sees from the version whether others wrote.
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  const dataVersion = db.prepare("PRAGMA data_version");
  const file = `${path}.snapshot`;
  let taken: unknown;
  let last: Promise<unknown> = Promise.resolve();

  async function take(): Promise<SnapshotName | undefined> {
    const version = dataVersion.get()?.data_version;
    if (version === taken) return undefined;
    try {
      const digest = await writeSnapshotFile(db, file);
      const kept = await store.list();
      const [newest] = kept;
      const same = newest !== undefined && digestOfSnapshot(newest) === digest;
      const name = same ? newest : snapshotName(now(), digest);
      if (!same) await store.write(name, file);
      taken = version;
      // By name, as a list may lag behind.
      const stale = [...new Set([name, ...kept])].sort().reverse().slice(keep);
      for (const old of stale) await store.remove(old);
      return same ? undefined : name;
    } finally {
      await rm(file, { force: true });
    }
  }

  return {
    take() {
      const current = last.then(take, take);
      last = current.catch(() => undefined);
      return current;
    },
    close() {
      db.close();
    },
  };
}
