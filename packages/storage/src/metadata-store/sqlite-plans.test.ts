import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { createReads } from "./sqlite-reads.ts";
import { createRecentRows } from "./sqlite-recent-rows.ts";
import { migrate } from "./sqlite-schema/migrations.ts";
import { createOperations } from "./sqlite-writes/operations.ts";

/** Every statement that the driver prepares, on an empty database with the current schema. */
function statements(): { db: DatabaseSync; texts: string[] } {
  const db = new DatabaseSync(":memory:");
  migrate(db, ":memory:");
  const texts: string[] = [];
  const prepare = db.prepare.bind(db);
  db.prepare = (text: string) => {
    texts.push(text);
    return prepare(text);
  };
  createOperations(db, { grace: 0 });
  createReads(db, createRecentRows());
  db.prepare = prepare;
  return { db, texts };
}

/**
 * `counters` has a handful of rows; the partial index of blobs in state `deleting` holds what is being deleted right now;
 * `above` and `below` are what a recursion found so far; json_each goes over a parameter.
 */
const SMALL = /counters|blobs_deleting|CONSTANT ROW|above|below|json_each/;

/** The steps of the plan that go over a whole table or index. */
function scans(db: DatabaseSync, text: string): string[] {
  const steps = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all() as { detail: string }[];
  return steps.map(({ detail }) => detail).filter((detail) => /^SCAN /.test(detail) && !SMALL.test(detail));
}

describe("SQLite statements", () => {
  it("find their rows by an index: none goes over a table", () => {
    const { db, texts } = statements();
    expect(texts.length).toBeGreaterThan(50);
    expect(texts.flatMap((text) => scans(db, text).map((scan) => ({ scan, text })))).toEqual([]);
    expect(scans(db, "SELECT 1 FROM blob_links WHERE touched_at = 1")).toHaveLength(1);
  });

  it("read a page of the catalog from its index alone", () => {
    const { db, texts } = statements();
    const catalog = texts.find((text) => /FROM repositories .*ORDER BY name/.test(text)) ?? "";
    const [step] = db.prepare(`EXPLAIN QUERY PLAN ${catalog}`).all() as { detail: string }[];
    expect(step?.detail).toContain("USING COVERING INDEX repositories_with_manifests");
  });

  it("sort nothing: pages come out of their index in order", () => {
    const { db, texts } = statements();
    const sorted = texts.filter((text) =>
      (db.prepare(`EXPLAIN QUERY PLAN ${text}`).all() as { detail: string }[]).some(({ detail }) =>
        /TEMP B-TREE FOR ORDER BY/.test(detail),
      ),
    );
    expect(sorted).toEqual([]);
  });
});
