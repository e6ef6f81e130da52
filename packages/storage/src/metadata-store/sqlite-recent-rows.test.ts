import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { createRecentRows, type RecentRows } from "./sqlite-recent-rows.ts";
import { prepare } from "./sqlite-statement.ts";

function scene(recent: RecentRows) {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE TABLE tags (repository TEXT, name TEXT, digest TEXT)");
  const set = (name: string, digest: string) => {
    db.prepare("DELETE FROM tags WHERE name = ?").run(name);
    db.prepare("INSERT INTO tags VALUES ('app', ?, ?)").run(name, digest);
  };
  const statement = prepare<{ digest: string }>(db, "SELECT digest FROM tags WHERE repository = ? AND name = ?");
  return { set, get: recent.over(statement) };
}

describe("recent rows", () => {
  it("are told again until they are forgotten", () => {
    const recent = createRecentRows();
    const { set, get } = scene(recent);
    set("v1", "one");
    expect(get("app", "v1")).toEqual({ digest: "one" });
    set("v1", "two");
    expect(get("app", "v1")).toEqual({ digest: "one" });
    expect(get("app/v1", "")).toBeUndefined();
    recent.forget();
    expect(get("app", "v1")).toEqual({ digest: "two" });
  });

  it("hold nothing of what is not there", () => {
    const { set, get } = scene(createRecentRows());
    expect(get("app", "v1")).toBeUndefined();
    set("v1", "one");
    expect(get("app", "v1")).toEqual({ digest: "one" });
  });

  it("are forgotten, all of them, when they would take too much memory", () => {
    const { set, get } = scene(createRecentRows(1_000));
    for (const name of ["v1", "v2"]) {
      set(name, name.repeat(100));
      expect(get("app", name)).toEqual({ digest: name.repeat(100) });
      set(name, "new");
    }
    // Room for two; the third takes the place of both.
    set("v3", "x".repeat(300));
    expect(get("app", "v2")).toEqual({ digest: "v2".repeat(100) });
    get("app", "v3");
    expect(get("app", "v2")).toEqual({ digest: "new" });
    set("huge", "x".repeat(1_000));
    get("app", "huge");
    set("huge", "small");
    expect(get("app", "huge")).toEqual({ digest: "small" });
  });
});
