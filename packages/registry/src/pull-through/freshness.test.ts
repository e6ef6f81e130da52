import { parseDigest } from "@cache-registry/core/digest";
import { describe, expect, it } from "vitest";
import { isFresh, staleWarning } from "./freshness.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const checked = (checkedAt: number, staleSince: number | null = null) => ({
  name: "v1",
  digest,
  checkedAt,
  staleSince,
});
const policy = { ttl: 1_000, freeze: false };

describe("isFresh", () => {
  it("ends with the tag's time", () => {
    expect(isFresh(checked(5_000), policy, 5_000)).toBe(true);
    expect(isFresh(checked(5_000), policy, 5_999)).toBe(true);
    expect(isFresh(checked(5_000), policy, 6_000)).toBe(false);
    expect(isFresh(checked(5_000), { ttl: 0, freeze: false }, 5_000)).toBe(false);
  });

  it("is not given by a clock that jumped back", () => {
    expect(isFresh(checked(5_000), policy, 4_000)).toBe(false);
  });

  it("is over once the upstream could not confirm the tag", () => {
    expect(isFresh(checked(5_000, 5_100), policy, 5_200)).toBe(false);
  });

  it("never ends for a frozen tag", () => {
    expect(isFresh(checked(5_000, 5_100), { ttl: 0, freeze: true }, 9e12)).toBe(true);
  });
});

describe("staleWarning", () => {
  it("is one quoted text, whatever the reason holds", () => {
    const warning = staleWarning(`"a\\b\r\nx: y" ${"long ".repeat(100)}é`);
    expect(warning).toMatch(/^299 - "[\x20-\x21\x23-\x5b\x5d-\x7e]+"$/);
    expect(warning.length).toBeLessThan(400);
  });
});
