import { describe, expect, it } from "vitest";
import { createNegativeCache } from "./negative-cache.ts";

describe("createNegativeCache", () => {
  it("remembers a failure for ten seconds at most", () => {
    let time = 1_000;
    const failures = createNegativeCache({ now: () => time });
    const error = new Error("down");
    failures.remember("a", error);
    expect(failures.get("a")).toBe(error);
    expect(failures.get("b")).toBeUndefined();
    time += 9_999;
    expect(failures.get("a")).toBe(error);
    time += 1;
    expect(failures.get("a")).toBeUndefined();
  });

  it("forgets when told, and when the clock jumps back", () => {
    let time = 100_000;
    const failures = createNegativeCache({ now: () => time });
    failures.remember("a", new Error("down"));
    failures.forget("a");
    expect(failures.get("a")).toBeUndefined();
    failures.remember("b", new Error("down"));
    time = 0;
    expect(failures.get("b")).toBeUndefined();
  });

  it("holds a bounded number of failures, the newest", () => {
    const failures = createNegativeCache();
    for (let key = 0; key <= 10_000; key += 1) failures.remember(`${key}`, new Error("down"));
    expect(failures.get("0")).toBeUndefined();
    expect(failures.get("1")).toBeDefined();
    expect(failures.get("10000")).toBeDefined();
  });
});
