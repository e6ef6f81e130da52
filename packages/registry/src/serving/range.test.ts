import { describe, expect, it } from "vitest";
import { parseRange } from "./range.ts";

const part = (start: number, end: number) => ({ kind: "part", range: { start, end } });
const whole = { kind: "whole" };
const unsatisfiable = { kind: "unsatisfiable" };

describe("parseRange", () => {
  it.each([
    [undefined, whole],
    ["bytes=0-", part(0, 99)],
    ["bytes=0-0", part(0, 0)],
    ["bytes=10-19", part(10, 19)],
    ["BYTES=10-19", part(10, 19)],
    ["bytes=90-1000", part(90, 99)],
    ["bytes=99-", part(99, 99)],
    ["bytes=-1", part(99, 99)],
    ["bytes=-1000", part(0, 99)],
    ["bytes=100-", unsatisfiable],
    [`bytes=${"9".repeat(400)}-`, unsatisfiable],
    ["bytes=-0", unsatisfiable],
    ["bytes=5-4", unsatisfiable],
    ["bytes=-", whole],
    ["bytes=0-1,5-6", whole],
    ["bytes=a-b", whole],
    ["items=0-1", whole],
  ])("%s of 100 bytes", (header, expected) => {
    expect(parseRange(header, 100)).toEqual(expected);
  });

  it("gives nothing whole, whatever was asked of it", () => {
    for (const header of ["bytes=0-", "bytes=5-9", "bytes=-3"]) expect(parseRange(header, 0)).toEqual(whole);
  });
});
