import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { sha256 } from "./conformance/fixtures.ts";
import { createDigestLock } from "./digest-lock.ts";

const one = sha256("one");
const two = sha256("two");

describe("digest lock", () => {
  it("runs tasks of one digest one after the other, in order", async () => {
    const lock = createDigestLock();
    const log: string[] = [];
    const task = (name: string, ms: number) => async () => {
      log.push(`${name} begins`);
      await delay(ms);
      log.push(`${name} ends`);
      return name;
    };
    const results = await Promise.all([
      lock.run(one, task("a", 20)),
      lock.run(one, task("b", 1)),
      lock.run(one, task("c", 5)),
    ]);
    expect(results).toEqual(["a", "b", "c"]);
    expect(log).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
    expect(lock.size).toBe(0);
  });

  it("lets other digests pass", async () => {
    const lock = createDigestLock();
    const first = Promise.withResolvers<void>();
    const held = lock.run(one, () => first.promise);
    await expect(lock.run(two, async () => "passed")).resolves.toBe("passed");
    expect(lock.size).toBe(1);
    first.resolve();
    await held;
  });

  it("goes on after a task that failed", async () => {
    const lock = createDigestLock();
    const failing = lock.run(one, async () => {
      throw new Error("disk");
    });
    const next = lock.run(one, async () => "next");
    await expect(failing).rejects.toThrow("disk");
    await expect(next).resolves.toBe("next");
    expect(lock.size).toBe(0);
  });
});
