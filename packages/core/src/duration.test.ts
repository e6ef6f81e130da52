import { describe, expect, it } from "vitest";
import { parseDuration, printDuration } from "./duration.ts";
import { createRandom } from "./testing/seeded-random.ts";

describe("parseDuration", () => {
  it.each([
    ["0", 0],
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["30d", 2_592_000_000],
    ["1.5h", 5_400_000],
    ["1d2h3m4s5ms", 93_784_005],
    ["1m1ms", 60_001],
  ])("%s is %i ms", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each([
    "",
    " ",
    "10",
    "s",
    "-1s",
    "10 s",
    "10s ",
    "1s,",
    "1x",
    "1.s",
    ".5s",
    "1e3s",
    "1w",
    "10S",
    "٣s",
    "1s\n",
    `${"9".repeat(30)}d`,
  ])("refuses %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it("keeps no state between calls", () => {
    expect([parseDuration("1s"), parseDuration("x"), parseDuration("1s1"), parseDuration("1s")]).toEqual([
      1_000,
      undefined,
      undefined,
      1_000,
    ]);
  });
});

describe("printDuration", () => {
  it.each([
    [0, "0s"],
    [90_000, "1m30s"],
    [2_592_000_000, "30d"],
    [1, "1ms"],
    [60_001, "1m1ms"],
    [0.4, "0s"],
    [999.6, "1s"],
    [-90_000, "-1m30s"],
  ])("%d ms is %s", (milliseconds, text) => {
    expect(printDuration(milliseconds)).toBe(text);
  });

  it("is read back as the same", () => {
    const random = createRandom(3);
    for (let round = 0; round < 1_000; round += 1) {
      const milliseconds = random.below(10 ** (1 + random.below(12)));
      expect(parseDuration(printDuration(milliseconds))).toBe(milliseconds);
    }
  });
});
