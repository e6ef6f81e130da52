import { describe, expect, it } from "vitest";
import { remembered } from "./store-checks.ts";

describe("store checks", () => {
  it("ask seldom while all is well, and soon again after a failure", async () => {
    let asked = 0;
    let failing = true;
    const check = remembered(async () => {
      asked += 1;
      if (failing) throw new Error("not open yet");
    });
    expect(await Promise.all([check(), check()])).toEqual(["not open yet", "not open yet"]);
    expect(asked).toBe(1);
    failing = false;
    await expect.poll(check, { timeout: 1_000 }).toBeUndefined();
    for (let turn = 0; turn < 10; turn += 1) await check();
    expect(asked).toBe(2);
  });
});
