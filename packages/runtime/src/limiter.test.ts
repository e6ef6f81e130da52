import { describe, expect, it } from "vitest";
import { createLimiter } from "./limiter.ts";

describe("createLimiter", () => {
  it("never runs more than allowed at once, and runs all", async () => {
    const limiter = createLimiter(3);
    let running = 0;
    let most = 0;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        limiter.run(async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setTimeout(resolve, 1));
          running -= 1;
          return index;
        }),
      ),
    );
    expect(most).toBe(3);
    expect(results).toHaveLength(20);
    expect([limiter.active, limiter.waiting]).toEqual([0, 0]);
  });

  it("admits foreground before background, first come first served in each", async () => {
    const limiter = createLimiter(1);
    const order: string[] = [];
    const release = await limiter.acquire();
    const all = (["b1", "f1", "b2", "f2"] as const).map((name) =>
      limiter.run(async () => void order.push(name), { priority: name.startsWith("b") ? "background" : "foreground" }),
    );
    expect(limiter.waiting).toBe(4);
    release();
    await Promise.all(all);
    expect(order).toEqual(["f1", "f2", "b1", "b2"]);
  });

  it("lets a waiter leave without using a slot", async () => {
    const limiter = createLimiter(1);
    const release = await limiter.acquire();
    const controller = new AbortController();
    const leaver = limiter.acquire({ signal: controller.signal });
    const next = limiter.acquire();
    const reason = new Error("left");
    controller.abort(reason);
    await expect(leaver).rejects.toBe(reason);
    release();
    (await next)();
    expect([limiter.active, limiter.waiting]).toEqual([0, 0]);
    await expect(limiter.acquire({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(limiter.active).toBe(0);
  });

  it("keeps the slot of one whose signal is aborted after it was admitted", async () => {
    const limiter = createLimiter(1);
    const release = await limiter.acquire();
    const controller = new AbortController();
    const next = limiter.acquire({ signal: controller.signal });
    release();
    const releaseNext = await next;
    controller.abort();
    expect(limiter.active).toBe(1);
    releaseNext();
    expect(limiter.active).toBe(0);
  });

  it("gives a slot back once, also after an error", async () => {
    const limiter = createLimiter(2);
    const release = await limiter.acquire();
    await limiter.acquire();
    release();
    release();
    expect(limiter.active).toBe(1);
    await expect(limiter.run(async () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(limiter.active).toBe(1);
  });

  it("refuses a concurrency that would never admit anyone", () => {
    expect(() => createLimiter(0)).toThrow(RangeError);
    expect(() => createLimiter(1.5)).toThrow(RangeError);
  });
});
