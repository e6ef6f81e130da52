import { describe, expect, it } from "vitest";
import { forgetOldest } from "./forget-oldest.ts";

describe("forgetting the oldest", () => {
  it("leaves as many as are allowed, the last that were put", () => {
    const map = new Map([
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ]);
    map.delete("a");
    map.set("a", 4); // the youngest now
    forgetOldest(map, 3);
    expect([...map.keys()]).toEqual(["b", "c", "a"]);
    forgetOldest(map, 1);
    expect([...map]).toEqual([["a", 4]]);
    const set = new Set(["x", "y"]);
    forgetOldest(set, 1);
    expect([...set]).toEqual(["y"]);
  });
});
