import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import {
  blobRef,
  CACHED,
  digest,
  LOCAL,
  linkBlob,
  manifestRef,
  putManifest,
  rulesAt,
  sweepAll,
} from "@cache-registry/storage/metadata-store/conformance/fixtures";
import {
  createSqliteMetadataStore,
  type SqliteMetadataStore,
  type SqliteOptions,
} from "@cache-registry/storage/metadata-store/sqlite";
import { SCHEMA_VERSION } from "@cache-registry/storage/metadata-store/sqlite-schema/migrations";
import { afterAll, describe, expect, it } from "vitest";

const root = await mkdtemp(join(tmpdir(), "metadata-process-"));
afterAll(() => rm(root, { recursive: true, force: true }));

let files = 0;
const newPath = (): string => join(root, `${++files}`, "metadata.db");

async function open(path: string, options: Partial<SqliteOptions> = {}): Promise<SqliteMetadataStore> {
  const store = createSqliteMetadataStore({ path, lockTimeout: 100, ...options });
  await store.start();
  return store;
}

/** Another process that opens the store and writes without a pause; prints the number of each manifest once it is acknowledged. */
function startWriter(path: string): ChildProcess {
  const program = `
    const { createSqliteMetadataStore } = await import(process.argv[1]);
    const { digest, putManifest } = await import(process.argv[2]);
    const store = createSqliteMetadataStore({ path: process.argv[3] });
    await store.start();
    console.log("open");
    let next = 0;
    const writer = async () => {
      for (;;) {
        const number = next++;
        await putManifest(store, "m-" + number, { tags: ["t-" + number], references: [] });
        process.stdout.write(number + "\\n");
      }
    };
    await Promise.all(Array.from({ length: 8 }, writer));`;
  const here = (file: string): string =>
    new URL(file, new URL("../../packages/storage/src/metadata-store/", import.meta.url)).href;
  const args = ["--input-type=module", "-e", program, here("./sqlite.ts"), here("./conformance/fixtures.ts"), path];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Lets it write `count` manifests, kills it in the middle, and resolves with all it saw acknowledged. */
async function killAfter(child: ChildProcess, count: number): Promise<number[]> {
  if (!child.stdout) throw new Error("no output");
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (line !== "open" && /^\d+$/.test(line)) acknowledged.push(Number(line));
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  // The last line may have been cut by the kill: a shorter number would be a wrong one.
  return acknowledged.slice(0, -1);
}

describe("SQLite metadata store and its process", () => {
  it("loses nothing acknowledged when it is killed in the middle of writes", async () => {
    const path = newPath();
    for (const count of [50, 300]) {
      const acknowledged = await killAfter(startWriter(path), count);
      expect(acknowledged.length).toBeGreaterThanOrEqual(count - 1);
      const store = await open(path);
      for (const number of acknowledged) {
        expect(await store.tag(CACHED.name, `t-${number}`)).toMatchObject({ digest: digest(`m-${number}`) });
        expect(await store.isLinked(CACHED.name, digest(`m-${number}`))).toBe(true);
      }
      const { manifests, blobs } = await store.usage();
      expect(manifests).toBeGreaterThanOrEqual(acknowledged.length);
      expect(blobs).toBe(manifests);
      await store.close();
    }
  });

  it("refuses a second opener while the first lives, and not a moment longer", async () => {
    const path = newPath();
    const child = startWriter(path);
    if (!child.stdout) throw new Error("no output");
    await once(child.stdout, "data");
    child.stdout.resume();
    await expect(open(path)).rejects.toThrow(`${path} is in use by another process`);
    child.kill("SIGKILL");
    await once(child, "exit");
    const store = await open(path);
    await expect(open(path)).rejects.toThrow("in use");
    await store.close();
    await (await open(path)).close();
  });

  it("waits for a process that is on its way out", async () => {
    const path = newPath();
    const store = await open(path);
    const next = open(path, { lockTimeout: 10_000 });
    await delay(50);
    await store.close();
    const opened = await next;
    expect(await opened.usage()).toMatchObject({ manifests: 0 });
    await opened.close();
  });

  it("refuses a database that a newer program wrote, and leaves it alone", async () => {
    const path = newPath();
    await (await open(path)).close();
    const database = new DatabaseSync(path);
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    await expect(open(path)).rejects.toThrow(
      `has schema version ${SCHEMA_VERSION + 1}, this program knows up to ${SCHEMA_VERSION}`,
    );
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    database.close();
    await (await open(path)).close();
  });

  it("keeps everything over a restart, in files for their owner only, with no log left", async () => {
    const path = newPath();
    const store = await open(path);
    await putManifest(store, "m", { references: [blobRef("a")], tags: ["v1"] });
    const pending = Array.from({ length: 100 }, (_, index) => linkBlob(store, `layer-${index}`));
    await store.close();
    expect(await Promise.all(pending)).toEqual(Array.from({ length: 100 }, () => true));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(stat(`${path}-wal`)).rejects.toThrow("ENOENT");
    await expect(store.usage()).rejects.toThrow("not open");
    await expect(linkBlob(store, "late")).rejects.toThrow("not open");

    const again = await open(path);
    expect(await again.tag(CACHED.name, "v1")).toMatchObject({ digest: digest("m") });
    expect((await again.usage()).blobs).toBe(101);
    await again.close();
  });
});

describe("SQLite metadata store under load", () => {
  it("writes many operations in few transactions, and one bad operation hurts no other", async () => {
    const store = await open(newPath());
    const before = await store.writerStats();
    const foreign = { name: CACHED.name, upstream: null };
    await linkBlob(store, "first");
    const results = await Promise.allSettled(
      Array.from({ length: 2_000 }, (_, index) =>
        index % 100 === 7 ? linkBlob(store, "bad", foreign) : linkBlob(store, `layer-${index}`),
      ),
    );
    const rejected = results.filter((result) => result.status === "rejected");
    expect(rejected).toHaveLength(20);
    expect(rejected[0]?.reason).toMatchObject({ name: "CodedError", code: "DENIED", status: 403 });
    expect((await store.usage()).blobs).toBe(1_981);
    const after = await store.writerStats();
    expect(after.operations - before.operations).toBeGreaterThanOrEqual(2_001);
    expect(after.transactions - before.transactions).toBeLessThan(200);
    await store.close();
  });

  it("keeps its log short however much is written", async () => {
    const path = newPath();
    const store = await open(path);
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 2_000 }, (_, index) => linkBlob(store, `layer-${round}-${index}`)));
    }
    expect((await stat(path)).size).toBeGreaterThan(5 * 2 ** 20);
    expect((await stat(`${path}-wal`)).size).toBeLessThan(16 * 2 ** 20);
    await store.close();
  });

  it("stays quick for others while a full pass goes over a hundred thousand rows", { timeout: 60_000 }, async () => {
    const path = newPath();
    await (await open(path)).close();
    fill(path, 100_000);
    const store = await open(path);
    await putManifest(store, "index", { repository: LOCAL, references: [manifestRef("child")], tags: ["v1"] });
    const slowest = { read: 0, write: 0 };
    let sweeping = true;
    const sweep = sweepAll(store, rulesAt(50_000), 500).finally(() => {
      sweeping = false;
    });
    while (sweeping) {
      const start = performance.now();
      await store.unlinkBlob(LOCAL.name, digest("absent"), 1);
      const written = performance.now();
      await store.tag(LOCAL.name, "v1");
      slowest.write = Math.max(slowest.write, written - start);
      slowest.read = Math.max(slowest.read, performance.now() - written);
      await delay(1);
    }
    expect(await sweep).toBeGreaterThan(200);
    expect((await store.reviewBacklog()).length).toBeGreaterThanOrEqual(50_000);
    // A page takes a few milliseconds; the bounds leave room for a busy machine, and would not for a scan of the table.
    expect(slowest.write).toBeLessThan(500);
    expect(slowest.read).toBeLessThan(250);
    await store.close();
  });
});

/** Rows as the store would write them: half of the blobs with a manifest that needs them, half with none. */
function fill(path: string, count: number): void {
  const database = new DatabaseSync(path);
  database.exec("BEGIN");
  database.exec("INSERT INTO repositories (id, name, upstream) VALUES (1, 'docker.io/library/nginx', 'docker.io')");
  const blob = database.prepare("INSERT INTO blobs (digest, size, generation, state) VALUES (?, 10, 1, 'live')");
  const link = database.prepare(
    "INSERT INTO blob_links (digest, repository_id, linked_at, touched_at) VALUES (?, 1, 0, 0)",
  );
  const manifest = database.prepare(
    "INSERT INTO manifests (id, repository_id, digest, media_type, size, annotations, put_at) VALUES (?, 1, ?, 'm', 1, '{}', 0)",
  );
  const reference = database.prepare("INSERT INTO manifest_references VALUES (?, 0, 1, ?, 'blob', 10)");
  for (let index = 0; index < count; index++) {
    const hex = index.toString(16).padStart(64, "0");
    blob.run(`sha256:${hex}`);
    link.run(`sha256:${hex}`);
    if (index % 2 === 1) continue;
    manifest.run(index + 1, `sha256:f${hex.slice(1)}`);
    reference.run(index + 1, `sha256:${hex}`);
  }
  database.exec("COMMIT");
  database.close();
}
