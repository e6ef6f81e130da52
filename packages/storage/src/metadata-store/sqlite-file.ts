import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { assertLocal } from "./network-file-system.ts";
import type { WriterOptions } from "./sqlite-messages.ts";
import { migrate } from "./sqlite-schema/migrations.ts";

/** SQLITE_BUSY, sqlite.org/rescode.html. */
const SQLITE_BUSY = 5;

/** Log of changes kept on disk after a checkpoint, in bytes. */
const WAL_LIMIT = 4 * 2 ** 20;

function prepareFolder(path: string): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  assertLocal(folder);
  // SQLite gives its journals the mode of the database file.
  closeSync(openSync(path, "a", 0o600));
}

/**
 * The database belongs to one process: it holds an exclusive lock on a file beside it, which the operating system drops
 * with the process, however it ends. (WAL mode itself would let a second process in.) Closing the result lets go of it.
 * @throws Error when another process has it
 */
export function lockDatabase({ path, lockTimeout }: Pick<WriterOptions, "path" | "lockTimeout">): DatabaseSync {
  const file = `${path}.lock`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  closeSync(openSync(file, "a", 0o600));
  const held = new DatabaseSync(file, { timeout: lockTimeout });
  try {
    held.exec("BEGIN EXCLUSIVE");
    return held;
  } catch (error) {
    held.close();
    const busy = error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
    throw busy ? new Error(`${path} is in use by another process (it holds ${file})`) : error;
  }
}

export type OwnedDatabase = { readonly db: DatabaseSync; close(): void };

/**
 * Opens the database for writing, alone, with the current schema.
 * @throws Error when another process has it, a newer program wrote it, or it is on a network file system
 */
export function openOwned(options: WriterOptions): OwnedDatabase {
  prepareFolder(options.path);
  const held = lockDatabase(options);
  try {
    const db = new DatabaseSync(options.path, { timeout: 5_000 });
    // FULL: a commit is on disk before it is answered (rule 2; batch.ts knows the exceptions). Checkpoints run here, so a stream never waits for one.
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
      PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = ${WAL_LIMIT}; PRAGMA cache_size = -16384`);
    migrate(db, options.path);
    return {
      db,
      close() {
        try {
          db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        } catch {
          // A full disk: the log stays and is read at the next opening.
        }
        db.close();
        held.close();
      },
    };
  } catch (error) {
    held.close();
    throw error;
  }
}
