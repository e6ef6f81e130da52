import { MAX_LOOPS } from "@cache-registry/core/cluster-state";
import { describe, expect, it } from "vitest";
import { createLoopList } from "./loop-list.ts";

const owner = (name: string) => ({ namespace: "shop", apiVersion: "example.com/v1", kind: "Database", name, uid: "u" });
const at = (seconds: number) => new Date(seconds * 1_000);

describe("createLoopList", () => {
  it("keeps an owner until its time, and does not put it off by what is noticed meanwhile", () => {
    const list = createLoopList();
    expect(list.add(owner("db"), at(100))).toBe(true);
    expect(list.add(owner("db"), at(200))).toBe(false);
    expect(list.active(at(99))).toEqual([
      { namespace: "shop", apiVersion: "example.com/v1", kind: "Database", name: "db", until: at(100) },
    ]);
    expect(list.active(at(100))).toEqual([]);
    expect(list.add(owner("db"), at(300))).toBe(true);
  });

  it("takes over what an earlier leader knew, and what it found out itself counts more", () => {
    const list = createLoopList();
    list.add(owner("db"), at(100));
    const { uid: _uid, ...known } = owner("db");
    list.restore([
      { ...known, until: at(50) },
      { ...known, name: "other", until: at(70) },
    ]);
    expect(list.active(at(0)).map(({ name, until }) => [name, until])).toEqual([
      ["db", at(100)],
      ["other", at(70)],
    ]);
  });

  it("is bounded", () => {
    const list = createLoopList();
    for (let index = 0; index < MAX_LOOPS + 5; index += 1) list.add(owner(`db-${index}`), at(100));
    expect(list.active(at(0))).toHaveLength(MAX_LOOPS);
    expect(list.active(at(0)).map(({ name }) => name)).not.toContain("db-4");
  });
});
