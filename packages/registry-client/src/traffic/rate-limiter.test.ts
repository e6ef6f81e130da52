import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRateLimiter } from "./rate-limiter.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("createRateLimiter", () => {
  it("lets one second's worth through at once, then as many per second as the rate", async () => {
    const limiter = createRateLimiter({ rate: 10 });
    let taken = 0;
    for (let count = 0; count < 40; count += 1) void limiter.take().then(() => (taken += 1));
    await vi.advanceTimersByTimeAsync(0);
    expect(taken).toBe(10);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(taken).toBeGreaterThanOrEqual(19);
    expect(taken).toBeLessThanOrEqual(21);
    await vi.advanceTimersByTimeAsync(2_500);
    expect([taken, limiter.waiting]).toEqual([40, 0]);
  });

  it("does not spin when the next turn is further away than a timer reaches", async () => {
    const limiter = createRateLimiter({ rate: 1e-9 });
    await limiter.take();
    void limiter.take();
    const timers = vi.spyOn(globalThis, "setTimeout");
    await vi.advanceTimersByTimeAsync(120_000);
    expect(timers.mock.calls.length).toBeLessThan(5);
  });

  it("saves up no more than that while nobody asks, and does less than one per second too", async () => {
    const limiter = createRateLimiter({ rate: 0.5 });
    await vi.advanceTimersByTimeAsync(60_000);
    let taken = 0;
    for (let count = 0; count < 3; count += 1) void limiter.take().then(() => (taken += 1));
    await vi.advanceTimersByTimeAsync(1_900);
    expect(taken).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(taken).toBe(2);
  });

  it("lets pulls go before warm-ups, and forgets who left", async () => {
    const limiter = createRateLimiter({ rate: 1 });
    await limiter.take();
    const order: string[] = [];
    const leaving = new AbortController();
    const left = limiter.take({ signal: leaving.signal }).catch((error: Error) => order.push(error.message));
    void limiter.take({ priority: "background" }).then(() => order.push("warm-up"));
    void limiter.take().then(() => order.push("pull"));
    leaving.abort(new Error("left"));
    await left;
    await vi.advanceTimersByTimeAsync(2_100);
    expect(order).toEqual(["left", "pull", "warm-up"]);
  });
});
