import { DatabaseSync } from "node:sqlite";
import { digestOfBytes } from "@cache-registry/core/verify";
import { describe, expect, it } from "vitest";
import { createReads } from "../sqlite-reads.ts";
import { createRecentRows } from "../sqlite-recent-rows.ts";
import { FIRST_SCHEMA } from "./0001-first.ts";
import { migrate, SCHEMA_VERSION } from "./migrations.ts";

describe("migrate", () => {
  it("brings a database of the first version up to date, with what is in it", async () => {
    const db = new DatabaseSync(":memory:");
    const [subject, referrer] = [digestOfBytes(Buffer.from("subject")), digestOfBytes(Buffer.from("referrer"))];
    db.exec(`${FIRST_SCHEMA}; PRAGMA user_version = 1; INSERT INTO repositories (id, name) VALUES (1, 'team/app')`);
    db.prepare(
      `INSERT INTO manifests (repository_id, digest, media_type, size, subject, artifact_type, annotations, put_at)
       VALUES (1, ?, 'm', 1, ?, 'type/x', '{"a":"b"}', 0)`,
    ).run(referrer, subject);
    migrate(db, ":memory:");
    expect(db.prepare("PRAGMA user_version").get()).toMatchObject({ user_version: SCHEMA_VERSION });
    const reads = createReads(db, createRecentRows());
    const expected = [expect.objectContaining({ digest: referrer, subject, annotations: { a: "b" } })];
    expect(await reads.referrers("team/app", subject, { limit: 10 })).toEqual(expected);
    expect(await reads.referrers("team/app", subject, { limit: 10, artifactType: "type/x" })).toEqual(expected);
    expect(await reads.referrersAnswer("team/app", subject)).toBeUndefined();
    migrate(db, ":memory:");
    db.close();
  });
});
