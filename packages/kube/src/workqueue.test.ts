import { afterEach, describe, expect, it, vi } from "vitest";
import type { Reconcile } from "./reconcile.ts";
import { createWorkqueue } from "./workqueue.ts";

afterEach(() => void vi.useRealTimers());

function start(process: Reconcile, concurrency = 2) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const ending = new AbortController();
  const errors: number[] = [];
  const queue = createWorkqueue({
    process,
    concurrency,
    retry: { initial: 100, max: 1_000 },
    onError: (_key, _error, delay) => void errors.push(delay),
  });
  const running = queue.run(ending.signal);
  return { queue, errors, running, stop: () => ending.abort(new Error("stop")) };
}

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);

describe("createWorkqueue", () => {
  it("processes a key once, however often it was added", async () => {
    const seen: string[] = [];
    const { queue } = start(async (key) => {
      seen.push(key);
      return {};
    }, 1);
    for (const key of ["a", "b", "b", "b"]) queue.add(key);
    await pass(0);
    expect(seen).toEqual(["a", "b"]);
  });

  it("never processes one key twice at once, but again when it was added meanwhile", async () => {
    let active = 0;
    let calls = 0;
    const { queue } = start(async () => {
      active += 1;
      calls += 1;
      expect(active).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      active -= 1;
      return {};
    });
    queue.add("a");
    await pass(10);
    queue.add("a");
    queue.add("a");
    await pass(200);
    expect(calls).toBe(2);
  });

  it("keeps to its concurrency", async () => {
    let active = 0;
    let most = 0;
    const { queue } = start(async () => {
      active += 1;
      most = Math.max(most, active);
      await new Promise((resolve) => setTimeout(resolve, 10));
      active -= 1;
      return {};
    }, 3);
    for (let index = 0; index < 20; index += 1) queue.add(`key-${index}`);
    await pass(200);
    expect(most).toBe(3);
    expect(active).toBe(0);
  });

  it("repeats failures with growing delays, and forgets them after a success", async () => {
    let failures = 4;
    const { queue, errors } = start(async () => {
      failures -= 1;
      if (failures >= 0) throw new Error("no");
      return {};
    });
    queue.add("a");
    await pass(5_000);
    expect(errors).toHaveLength(4);
    for (const [index, delay] of errors.entries()) {
      expect(delay).toBeLessThanOrEqual(100 * 2 ** index);
      expect(delay).toBeGreaterThanOrEqual(80 * 2 ** index);
    }
    failures = 1;
    queue.add("a");
    await pass(5_000);
    expect(errors.at(-1)).toBeLessThanOrEqual(100);
  });

  it("looks again when told, and the earlier appointment wins", async () => {
    let calls = 0;
    const { queue } = start(async () => {
      calls += 1;
      return calls === 1 ? { requeueAfter: 1_000 } : {};
    });
    queue.add("a");
    await pass(999);
    expect(calls).toBe(1);
    await pass(1);
    expect(calls).toBe(2);
    queue.addAfter("a", 500);
    queue.addAfter("a", 100);
    queue.addAfter("a", 900);
    await pass(100);
    expect(calls).toBe(3);
    await pass(2_000);
    expect(calls).toBe(3);
  });

  it("does not fire at once for a delay beyond what timers can hold", async () => {
    let calls = 0;
    const { queue } = start(async () => {
      calls += 1;
      return { requeueAfter: 30 * 86_400_000 };
    });
    queue.add("a");
    await pass(3_600_000);
    expect(calls).toBe(1);
  });

  it("waits for running work when it ends, and starts no more", async () => {
    const done: string[] = [];
    const { queue, running, stop } = start(async (key) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      done.push(key);
      return { requeueAfter: 1 };
    }, 1);
    queue.add("a");
    queue.add("b");
    await pass(10);
    stop();
    await pass(500);
    await running;
    expect(done).toEqual(["a"]);
  });
});
