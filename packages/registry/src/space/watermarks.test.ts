import { describe, expect, it } from "vitest";
import { excessOver, freeMarks, type Levels } from "./watermarks.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;

function levels({
  stored = 0,
  expected = 0,
  ...rest
}: Partial<Levels> & { stored?: number; expected?: number }): Levels {
  return { cached: { stored, expected }, quota: undefined, disk: undefined, reserve: 0, ...rest };
}

describe("excessOver a quota", () => {
  it.each([
    ["high", 950, { reason: undefined, bytes: 0 }],
    ["high", 951, { reason: "quota", bytes: 1 }],
    ["low", 850, { reason: undefined, bytes: 0 }],
    ["low", 951, { reason: "quota", bytes: 101 }],
  ] as const)("at the %s mark of 1000 with %i", (mark, stored, expected) => {
    expect(excessOver(mark, levels({ quota: 1_000, stored }))).toEqual(expected);
  });

  it("counts what is on its way like what is there", () => {
    expect(excessOver("high", levels({ quota: 1_000, stored: 900, expected: 60 }))).toEqual({
      reason: "quota",
      bytes: 10,
    });
  });

  it("is nothing without a limit", () => {
    expect(excessOver("low", levels({ stored: 1e15, expected: 1e15 }))).toEqual({ reason: undefined, bytes: 0 });
  });
});

describe("excessOver a disk", () => {
  it.each([
    ["high", 50, 0],
    ["high", 49, 1],
    ["low", 100, 0],
    ["low", 49, 51],
  ] as const)("at the %s mark of 1000 with %i free", (mark, free, bytes) => {
    const disk = { total: 1_000, free, missing: 0 };
    expect(excessOver(mark, levels({ disk }))).toEqual({ reason: bytes > 0 ? "disk" : undefined, bytes });
  });

  it("counts what will be written yet as taken", () => {
    const disk = { total: 1_000, free: 60, missing: 30 };
    expect(excessOver("high", levels({ disk }))).toEqual({ reason: "disk", bytes: 20 });
  });

  it("wins over a quota that is less above its mark, and only then", () => {
    const disk = { total: 1_000, free: 30, missing: 0 };
    expect(excessOver("high", levels({ disk, quota: 1_000, stored: 960 }))).toEqual({ reason: "disk", bytes: 20 });
    expect(excessOver("high", levels({ disk, quota: 1_000, stored: 990 }))).toEqual({ reason: "quota", bytes: 40 });
    expect(excessOver("high", levels({ disk, quota: 1_000, stored: 10 }))).toEqual({ reason: "disk", bytes: 20 });
  });

  it("asks for enough to make the reserve anew", () => {
    const disk = { total: 1_000, free: 150, missing: 0 };
    expect(excessOver("high", levels({ disk, reserve: 80 }))).toEqual({ reason: "disk", bytes: 10 });
    expect(excessOver("low", levels({ disk, reserve: 80 }))).toEqual({ reason: "disk", bytes: 90 });
  });
});

describe("freeMarks", () => {
  it.each([
    ["parts of a common disk", 20 * GiB, { low: 1 * GiB, high: 2 * GiB }],
    ["bytes of a large one", 4_096 * GiB, { low: 2 * GiB, high: 4 * GiB }],
    ["two and three reserves of a small one", 256 * MiB, { low: 32 * MiB, high: 48 * MiB }],
  ])("are %s", (_, total, marks) => {
    expect(freeMarks(total, 16 * MiB)).toEqual(marks);
  });
});
