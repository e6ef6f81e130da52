import { describe, expect, it } from "vitest";
import { createBackoff, sleep } from "./backoff.ts";

describe("createBackoff", () => {
  it("doubles up to the maximum and starts again after a reset", () => {
    const backoff = createBackoff({ initial: 100, max: 500, jitter: 0 });
    expect([backoff.next(), backoff.next(), backoff.next(), backoff.next()]).toEqual([100, 200, 400, 500]);
    expect(backoff.attempts).toBe(4);
    backoff.reset();
    expect(backoff.attempts).toBe(0);
    expect(backoff.next()).toBe(100);
  });

  it("takes away at most the jitter's share", () => {
    const most = createBackoff({ initial: 100, max: 100, jitter: 0.5, random: () => 1 });
    const none = createBackoff({ initial: 100, max: 100, jitter: 0.5, random: () => 0 });
    expect([most.next(), none.next()]).toEqual([50, 100]);
  });

  it("stays at the maximum after very many attempts", () => {
    const backoff = createBackoff({ initial: 100, max: 500, jitter: 0 });
    for (let attempt = 0; attempt < 2000; attempt += 1) backoff.next();
    expect(backoff.next()).toBe(500);
  });
});

describe("sleep", () => {
  it("waits", async () => {
    const started = performance.now();
    await sleep(30);
    expect(performance.now() - started).toBeGreaterThanOrEqual(28);
  });

  it("rejects with the signal's reason, before and while waiting", async () => {
    const reason = new Error("enough");
    await expect(sleep(10_000, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = sleep(10_000, controller.signal);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });
});
