import { afterEach, describe, expect, it, vi } from "vitest";
import { createPacer } from "./pacer.ts";

afterEach(() => void vi.useRealTimers());

describe("createPacer", () => {
  it("lets a burst through, then paces, and saves up again", async () => {
    let now = 0;
    const pacer = createPacer({ perSecond: 10, burst: 5, now: () => now });
    const taken: number[] = [];
    const began = performance.now();
    await Promise.all(
      Array.from({ length: 7 }, async (_, index) => {
        await pacer.take();
        taken[index] = performance.now() - began;
      }),
    );
    expect(Math.max(...taken.slice(0, 5))).toBeLessThan(50);
    expect(taken[5]).toBeGreaterThan(80);
    expect(taken[6]).toBeGreaterThan(180);
    now = 60_000;
    const again = performance.now();
    await Promise.all(Array.from({ length: 5 }, () => pacer.take()));
    expect(performance.now() - again).toBeLessThan(50);
  });

  it("ends waiting at the signal", async () => {
    const pacer = createPacer({ perSecond: 0.001, burst: 1 });
    await pacer.take();
    const ending = new AbortController();
    const waiting = pacer.take(ending.signal);
    ending.abort(new Error("over"));
    await expect(waiting).rejects.toThrow("over");
  });
});
