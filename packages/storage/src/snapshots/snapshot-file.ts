import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { backup, DatabaseSync } from "node:sqlite";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import { createGunzip, createGzip } from "node:zlib";
import { type Digest, digestOf } from "@cache-registry/core/digest";
import { SCHEMA_VERSION } from "../metadata-store/sqlite-schema/migrations.ts";
import { digestOfSnapshot, type SnapshotName, UnreadableSnapshotError } from "./snapshot-store.ts";

/** In one step: with more, each commit in between would begin the copy anew. It runs on a thread of its own. */
const ALL_PAGES = 2 ** 30;

/** Copies a database that is in use to a compressed file; the digest is that of the file. */
export async function writeSnapshotFile(source: DatabaseSync, file: string): Promise<Digest> {
  const plain = `${file}.plain`;
  await rm(plain, { force: true });
  try {
    await backup(source, plain, { rate: ALL_PAGES });
    const hash = createHash("sha256");
    const hashing = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    await pipeline(
      createReadStream(plain),
      createGzip({ level: 1 }),
      hashing,
      createWriteStream(file, { mode: 0o600 }),
    );
    return digestOf("sha256", hash.digest("hex"));
  } finally {
    await rm(plain, { force: true });
  }
}

/** The database out of a snapshot's file, checked and on the disk. @throws UnreadableSnapshotError saying what is wrong with it */
export async function extractSnapshot(name: SnapshotName, file: string, database: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  if (digestOf("sha256", hash.digest("hex")) !== digestOfSnapshot(name))
    throw new UnreadableSnapshotError("it is damaged");
  await rm(database, { force: true });
  await pipeline(createReadStream(file), createGunzip(), createWriteStream(database, { mode: 0o600 }));
  // Immutable: without journals of its own beside it.
  const problem = databaseProblem(new URL("?immutable=1", pathToFileURL(database)));
  if (problem !== undefined) throw new UnreadableSnapshotError(problem);
  const handle = await open(database, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Why a database cannot be used; undefined when it can. Reads all of it. */
export function databaseProblem(path: string | URL): string | undefined {
  try {
    const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    try {
      const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
      if (version > SCHEMA_VERSION) return `schema version ${version}: a newer cache-registry wrote it`;
      if (version === 0) return "it is empty";
      const { quick_check: check } = db.prepare("PRAGMA quick_check(1)").get() ?? {};
      return check === "ok" ? undefined : `it is damaged: ${String(check)}`;
    } finally {
      db.close();
    }
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
