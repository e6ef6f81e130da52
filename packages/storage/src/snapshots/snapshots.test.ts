import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { linkBlob } from "../metadata-store/conformance/fixtures.ts";
import { createSqliteMetadataStore, type SqliteMetadataStore } from "../metadata-store/sqlite.ts";
import { createFilesystemSnapshots } from "./filesystem-snapshots.ts";
import { clearRestored, hasDatabase, isRestored, moveAside, restoreSnapshot } from "./restore.ts";
import { databaseProblem } from "./snapshot-file.ts";
import { isSnapshotName, type SnapshotStore } from "./snapshot-store.ts";
import { createSnapshotter, type Snapshotter } from "./snapshotter.ts";

let folder: string;
let path: string;
let metadata: SqliteMetadataStore;
let store: SnapshotStore;
let snapshotter: Snapshotter;
let clock: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "creg-snapshots-"));
  path = join(folder, "db", "metadata.db");
  metadata = createSqliteMetadataStore({ path });
  await metadata.start();
  store = createFilesystemSnapshots(join(folder, "blobs"));
  clock = Date.UTC(2026, 0, 1);
  const now = () => {
    clock += 1_000;
    return new Date(clock);
  };
  snapshotter = createSnapshotter({ path, store, keep: 2, now });
});
afterEach(async () => {
  snapshotter.close();
  await metadata.close();
  await rm(folder, { recursive: true, force: true });
});

async function blobsIn(database: string): Promise<number> {
  const opened = createSqliteMetadataStore({ path: database });
  await opened.start();
  const { blobs } = await opened.usage();
  await opened.close();
  return blobs;
}

describe("snapshots", () => {
  it("are taken when something changed, while the database is in use, and the newest are kept", async () => {
    expect(await snapshotter.take()).toMatch(/^20260101T000001000Z-[a-f0-9]{64}\.db\.gz$/);
    expect(await snapshotter.take()).toBeUndefined();
    for (const name of ["one", "two", "three"]) {
      await linkBlob(metadata, name);
      expect(await snapshotter.take()).toSatisfy(isSnapshotName);
    }
    const kept = await store.list();
    expect(kept.map((name) => name.slice(0, 16))).toEqual(["20260101T0000040", "20260101T0000030"]);
    expect(await readdir(join(folder, "blobs", "snapshots"))).toHaveLength(2);
    expect((await readdir(join(folder, "db"))).filter((name) => name.includes("snapshot"))).toEqual([]);
  });

  it("take the place of those that a killed process left half written", async () => {
    const beside = join(folder, "blobs", "snapshots");
    await mkdir(beside, { recursive: true });
    await writeFile(join(beside, `20250101T000000000Z-${"a".repeat(64)}.db.gz.unfinished`), "half");
    const name = await snapshotter.take();
    expect(await readdir(beside)).toEqual([name]);
  });

  it("are taken at once by nobody else: calls wait for each other", async () => {
    await linkBlob(metadata, "one");
    const taken = await Promise.all([snapshotter.take(), snapshotter.take(), snapshotter.take()]);
    expect(taken.filter((name) => name !== undefined)).toHaveLength(1);
  });

  it("give the database back, the newest that is whole, and say what was wrong with the others", async () => {
    await linkBlob(metadata, "one");
    await snapshotter.take();
    await linkBlob(metadata, "two");
    const newest = await snapshotter.take();
    const file = join(folder, "blobs", "snapshots", newest ?? "");
    const bytes = await readFile(file);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    await writeFile(file, bytes);

    const lost = join(folder, "other", "metadata.db");
    const { restored } = await restoreSnapshot(store, lost, { aside: ".old" });
    expect(restored?.refused).toEqual([{ name: newest, reason: "it is damaged" }]);
    expect(await isRestored(lost)).toBe(true);
    await clearRestored(lost);
    expect(await blobsIn(lost)).toBe(1);
    expect(await isRestored(lost)).toBe(false);
    expect((await readdir(join(folder, "other"))).sort()).toEqual(["metadata.db", "metadata.db.lock"]);
  });

  it("move what was there aside, with its journals", async () => {
    await linkBlob(metadata, "one");
    await snapshotter.take();
    const broken = join(folder, "broken", "metadata.db");
    await mkdir(join(folder, "broken"));
    await writeFile(broken, "no database");
    await writeFile(`${broken}-wal`, "and its journal");
    expect(databaseProblem(broken)).toContain("cannot be read");
    await restoreSnapshot(store, broken, { aside: ".old" });
    expect(await readFile(`${broken}.old`, "utf8")).toBe("no database");
    expect(await readFile(`${broken}-wal.old`, "utf8")).toBe("and its journal");
    expect(await blobsIn(broken)).toBe(1);
    expect(databaseProblem(broken)).toBeUndefined();
  });

  it("of which none is whole restore nothing, and touch nothing", async () => {
    const name = (await snapshotter.take()) ?? "";
    await writeFile(join(folder, "blobs", "snapshots", name), "");
    const other = join(folder, "other.db");
    await writeFile(other, "as it was");
    expect(await restoreSnapshot(store, other, { aside: ".old" })).toMatchObject({
      restored: undefined,
      refused: [{}],
    });
    expect(await readFile(other, "utf8")).toBe("as it was");
    expect([await isRestored(other), await hasDatabase(other), await hasDatabase(join(folder, "no.db"))]).toEqual([
      false,
      true,
      false,
    ]);
    await moveAside(other, ".moved");
    expect(await hasDatabase(other)).toBe(false);
  });

  it("stop a restoring that cannot read them now: a store out of reach is no store without snapshots", async () => {
    await snapshotter.take();
    const away: SnapshotStore = { ...store, read: () => Promise.reject(new Error("out of reach")) };
    await expect(restoreSnapshot(away, join(folder, "x.db"), { aside: ".old" })).rejects.toThrow("out of reach");
  });
});
