import { describe, expect, it } from "vitest";
import { matchesPlatform, parsePlatform, printPlatform } from "./platform.ts";

describe("parsePlatform", () => {
  it.each(["linux/amd64", "linux/arm/v7", "windows/amd64", "linux/arm64/v8"])("reads and prints %s", (text) => {
    const platform = parsePlatform(text);
    expect(platform && printPlatform(platform)).toBe(text);
  });
  it.each(["", "linux", "/amd64", "linux/", "linux/arm/", "linux/arm/v7/x", "//"])("refuses %j", (text) => {
    expect(parsePlatform(text)).toBeUndefined();
  });
});

it.each([
  ["linux/amd64", "linux/amd64", true],
  ["linux/amd64", "linux/amd64/v1", true],
  ["linux/amd64/v1", "linux/amd64", true],
  ["linux/amd64", "linux/amd64/v3", true],
  ["linux/amd64/v2", "linux/amd64", false],
  ["linux/arm64", "linux/arm64/v8", true],
  ["linux/arm64/v8", "linux/arm64", true],
  ["linux/arm", "linux/arm/v6", true],
  ["linux/arm/v7", "linux/arm/v6", false],
  ["linux/arm/v7", "linux/arm/v7", true],
  ["linux/amd64", "linux/arm64", false],
  ["linux/amd64", "windows/amd64", false],
  ["linux/amd64", "unknown/unknown", false],
])("wanted %s, offered %s: %s", (wanted, offered, expected) => {
  const [one, other] = [parsePlatform(wanted), parsePlatform(offered)];
  if (!one || !other) throw new Error("not read");
  expect(matchesPlatform(one, other)).toBe(expected);
});
