import { describe, expect, it } from "vitest";
import { createRenewed } from "./renewed.ts";

const MINUTE = 60_000;

function counting(lifetime: number) {
  let time = 0;
  let count = 0;
  const state = { fail: false };
  const renewed = createRenewed({
    now: () => time,
    obtain: async () => {
      count += 1;
      if (state.fail) throw new Error(`failure ${count}`);
      return { value: `value ${count}`, lifetime };
    },
  });
  return { renewed, state, calls: () => count, pass: (ms: number) => (time += ms) };
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
    expect(await long.renewed.get()).toBe("value 2");
    const short = counting(10_000);
    await short.renewed.get();
    short.pass(8_999);
    expect(await short.renewed.get()).toBe("value 1");
    short.pass(1);
    expect(await short.renewed.get()).toBe("value 2");
  });

  it("outlives a failure to renew it while it is valid, and no longer", async () => {
    const { renewed, state, pass } = counting(60 * MINUTE);
    await renewed.get();
    state.fail = true;
    pass(57 * MINUTE);
    expect(await renewed.get()).toBe("value 1");
    pass(3 * MINUTE - 10_000);
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
