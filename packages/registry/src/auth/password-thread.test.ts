import bcrypt from "bcryptjs";
import { describe, expect, it } from "vitest";
import { createPasswordThread } from "./password-thread.ts";

describe("createPasswordThread", () => {
  it("compares without holding up the main thread", async () => {
    const thread = createPasswordThread();
    const hash = bcrypt.hashSync("wonderland", 4);
    expect(await thread.compare("wonderland", hash)).toBe(true);
    expect(await thread.compare("Wonderland", hash)).toBe(false);
    const costly = `$2b$12$${hash.slice(7)}`;
    const busy = performance.eventLoopUtilization();
    expect(await thread.compare("wonderland", costly)).toBe(false);
    // A hash of 2^12 rounds keeps a thread busy for a quarter of a second.
    expect(performance.eventLoopUtilization(busy).active).toBeLessThan(100);
  });

  it("refuses when more are waiting than can be checked soon, and goes on afterwards", async () => {
    const thread = createPasswordThread();
    const hash = bcrypt.hashSync("x", 4);
    const results = await Promise.allSettled(Array.from({ length: 150 }, () => thread.compare("x", hash)));
    const refused = results.filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(50);
    expect(refused[0]).toMatchObject({ reason: { code: "UNAVAILABLE", headers: { "retry-after": "5" } } });
    expect(await thread.compare("x", hash)).toBe(true);
  });

  it("tells who waits when a hash cannot be checked, and starts anew", async () => {
    const thread = createPasswordThread();
    await expect(thread.compare("x", 5 as never)).rejects.toThrow("Illegal arguments");
    expect(await thread.compare("x", bcrypt.hashSync("x", 4))).toBe(true);
  });
});
