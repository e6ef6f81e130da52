import { beforeEach, describe, expect, it } from "vitest";
import { createSilence, type Silence } from "./silence.ts";

const MINUTE = 60_000;
let now: number;
let silence: Silence;
beforeEach(() => {
  now = 0;
  silence = createSilence({ now: () => now });
});

/** What it says at each of these minutes. */
function at(...minutes: readonly number[]): boolean[] {
  return minutes.map((minute) => {
    now = minute * MINUTE;
    return silence.lasts();
  });
}

describe("the cache's silence", () => {
  it("may soon be over for a quarter of an hour", () => {
    expect(at(0, 5, 10, 14, 15, 20)).toEqual([true, true, true, true, false, false]);
  });

  it("begins anew when it was broken", () => {
    expect(at(0, 8, 16)).toEqual([true, true, false]);
    silence.broken();
    expect(at(17)).toEqual([true]);
  });

  it("begins anew when nobody listened for long", () => {
    expect(at(0, 180, 188, 194)).toEqual([true, true, true, true]);
    expect(at(195)).toEqual([false]);
  });
});
