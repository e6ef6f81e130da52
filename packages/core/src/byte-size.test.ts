import { describe, expect, it } from "vitest";
import { parseByteSize, printByteSize } from "./byte-size.ts";

describe("parseByteSize", () => {
  it.each([
    ["0", 0],
    ["1048576", 1_048_576],
    ["1k", 1_000],
    ["500M", 500_000_000],
    ["2Gi", 2_147_483_648],
    ["1.5Ki", 1_536],
    ["1Ti", 1_099_511_627_776],
    ["3T", 3_000_000_000_000],
  ])("%s is %i bytes", (text, bytes) => {
    expect(parseByteSize(text)).toBe(bytes);
  });

  it.each([
    "",
    "Gi",
    "-1",
    "1 Gi",
    "1gi",
    "1K",
    "1GiB",
    "1B",
    "1e3",
    "0x10",
    ".5Gi",
    "1.",
    "1Gi\n",
    "9".repeat(20),
    "9007199254740993",
  ])("refuses %j", (text) => {
    expect(parseByteSize(text)).toBeUndefined();
  });
});

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1 KiB"],
  [1_572_864, "1.5 MiB"],
  [1_048_575, "1 MiB"],
  [5 * 2 ** 40, "5 TiB"],
  [5_000 * 2 ** 40, "5000 TiB"],
])("prints %i bytes as %s", (bytes, text) => {
  expect(printByteSize(bytes)).toBe(text);
});
