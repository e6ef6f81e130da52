import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createRenewed } from "./renewed.ts";

const MINUTE = 60_000;

function counting(lifetime: number) {
  let time = 0;
  let count = 0;
  const state = { fail: false };
  const failures: string[] = [];
  const renewed = createRenewed({
    now: () => time,
    onFailure: (error) => failures.push(error instanceof Error ? error.message : ""),
    obtain: async () => {
      count += 1;
      if (state.fail) throw new Error(`failure ${count}`);
      return { value: `value ${count}`, lifetime };
    },
  });
  return { renewed, state, failures, calls: () => count, pass: (ms: number) => (time += ms) };
}

describe("a renewed value", () => {
  it("is obtained once for all who wait, and held", async () => {
    const { renewed, calls, pass } = counting(60 * MINUTE);
    expect(await Promise.all([renewed.get(), renewed.get(), renewed.get()])).toEqual(Array(3).fill("value 1"));
    pass(54 * MINUTE);
    expect(await renewed.get()).toBe("value 1");
    expect(calls()).toBe(1);
  });

  it("is renewed before its end, by a margin of at most five minutes and a tenth", async () => {
    const long = counting(60 * MINUTE);
    await long.renewed.get();
    long.pass(55 * MINUTE);
    await long.renewed.get();
    await expect.poll(() => long.renewed.get()).toBe("value 2");
    expect(long.calls()).toBe(2);
    const short = counting(10_000);
    await short.renewed.get();
    short.pass(8_999);
    expect(await short.renewed.get()).toBe("value 1");
    short.pass(1);
    expect(await short.renewed.get()).toBe("value 2");
  });

  it("is used meanwhile, by everybody, until its last minute", async () => {
    let time = 0;
    let give = (_value: string): void => {};
    const renewed = createRenewed({
      now: () => time,
      obtain: () =>
        new Promise<{ value: string; lifetime: number }>((resolve) => {
          give = (value) => resolve({ value, lifetime: 60 * MINUTE });
        }),
    });
    const first = renewed.get();
    await Promise.resolve();
    give("old");
    await first;
    time = 58 * MINUTE;
    expect(await Promise.all([renewed.get(), renewed.get()])).toEqual(["old", "old"]);
    time = 59 * MINUTE;
    const waiting = renewed.get();
    give("new");
    expect(await waiting).toBe("new");
  });

  it("outlives a failure to renew it while it is valid, and no longer", async () => {
    const { renewed, state, pass, failures } = counting(60 * MINUTE);
    await renewed.get();
    state.fail = true;
    pass(57 * MINUTE);
    expect(await renewed.get()).toBe("value 1");
    await setImmediate();
    pass(2 * MINUTE + 30_000);
    expect(await renewed.get()).toBe("value 1");
    expect(failures).toEqual(["failure 2", "failure 3"]);
    pass(20_000);
    await expect(renewed.get()).rejects.toThrow("failure");
  });

  it("fails for some seconds without asking again", async () => {
    const { renewed, state, calls, pass } = counting(MINUTE);
    state.fail = true;
    await expect(renewed.get()).rejects.toThrow("failure 1");
    pass(4_999);
    await expect(renewed.get()).rejects.toThrow("failure 1");
    expect(calls()).toBe(1);
    pass(1);
    state.fail = false;
    expect(await renewed.get()).toBe("value 2");
  });

  it("that was refused is replaced, unless it is new", async () => {
    const { renewed, pass } = counting(60 * MINUTE);
    const first = await renewed.get();
    renewed.refuse(first);
    expect(await renewed.get()).toBe("value 1");
    pass(10_000);
    renewed.refuse("another");
    expect(await renewed.get()).toBe("value 1");
    renewed.refuse(first);
    expect(await renewed.get()).toBe("value 2");
  });

  it("is waited for only as long as the caller stays", async () => {
    const renewed = createRenewed({ obtain: () => new Promise<never>(() => {}) });
    const leave = AbortSignal.abort(new Error("left"));
    await expect(renewed.get(leave)).rejects.toThrow("left");
  });
});
