import { CodedError } from "@cache-registry/core/errors";
import { describe, expect, it } from "vitest";
import { createKnownRows } from "./known-rows.ts";

const down = async () => Promise.reject(new CodedError("UNAVAILABLE"));
const says = (row: string | undefined) => async () => row;

describe("known rows", () => {
  it("answer only while the database does not", async () => {
    const rows = createKnownRows();
    await expect(rows.read("a", down)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await rows.read("a", says("one"))).toBe("one");
    expect(await rows.read("a", down)).toBe("one");
    expect(await rows.read("a", says("two"))).toBe("two");
    expect(await rows.read("a", down)).toBe("two");
    await expect(rows.read("a", () => Promise.reject(new Error("a fault")))).rejects.toThrow("a fault");
    expect(await rows.read("a", says(undefined))).toBeUndefined();
    await expect(rows.read("a", down)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("do not answer with what is not usable", async () => {
    const rows = createKnownRows();
    await rows.read("a", says("one"));
    await expect(rows.read("a", down, () => false)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await rows.read("a", down, (row) => row === "one")).toBe("one");
  });

  it("are not brought back by a read that was on its way when they were forgotten", async () => {
    const rows = createKnownRows();
    const answer = Promise.withResolvers<string>();
    const reading = rows.read("a", () => answer.promise);
    rows.forget("a");
    answer.resolve("old");
    expect(await reading).toBe("old");
    expect(rows.has("a")).toBe(false);
  });

  it("take no more than the limit: the longest unused go first", async () => {
    const rows = createKnownRows(10_000);
    for (let index = 0; index < 100; index++) {
      await rows.read(`key-${index}`, says("x".repeat(100)));
      await rows.read("key-0", says("used"));
      expect(rows.bytes).toBeLessThanOrEqual(10_000);
    }
    expect(rows.has("key-0")).toBe(true);
    expect(rows.has("key-1")).toBe(false);
    expect(rows.has("key-99")).toBe(true);
    rows.put("huge", { text: "x".repeat(10_000) });
    expect(rows.bytes).toBe(0);
  });
});
