import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it } from "vitest";
import { CACHED, digest, GRACE, linkBlob, NOTHING, putManifest } from "./conformance/fixtures.ts";
import { metadataStoreConformance } from "./conformance.ts";
import { createSqliteMetadataStore } from "./sqlite.ts";

const folder = await mkdtemp(join(tmpdir(), "metadata-store-"));
const path = join(folder, "metadata.db");
const store = createSqliteMetadataStore({ path, grace: GRACE });
await store.start();
const database = new DatabaseSync(path, { timeout: 5_000 });
afterAll(async () => {
  database.close();
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

/** Children first. Starting a writer for each test would cost more than the tests. */
const TABLES = "image_owners images uploads tags manifest_references manifests blob_links blobs reviews repositories";

/** Past the store, which therefore must write something before it reads again. */
async function empty(): Promise<void> {
  for (const table of TABLES.split(" ")) database.exec(`DELETE FROM ${table}`);
  await store.recordPulls([]);
}

metadataStoreConformance("sqlite", async () => {
  // Sessions are written behind; this waits for them.
  await store.idleUploads(0, 1);
  await empty();
  return { ...store, close: async () => {} };
});

describe("SQLite counters", () => {
  it("are back at nothing when every row is gone", async () => {
    await putManifest(store, "m", { tags: ["v1"] });
    await linkBlob(store, "layer");
    await store.beginBlobDeletion(digest("layer"), { now: GRACE, grace: GRACE, untaggedLocal: "keep", unusedFor: 0 });
    await store.deleteTag(CACHED.name, "v1", 0);
    await empty();
    expect(await store.usage()).toEqual(NOTHING);
    expect(await store.reviewBacklog()).toEqual({ nextAt: null, length: 0 });
  });
});
