import { describe, expect, it } from "vitest";
import { isLow, parseQuota } from "./quota.ts";

describe("parseQuota", () => {
  it("reads the form of Docker Hub", () => {
    const headers = { "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600" };
    expect(parseQuota(headers)).toEqual({ limit: 100, remaining: 76, window: 21_600_000 });
    expect(parseQuota({ "ratelimit-remaining": " 0 " })).toEqual({ limit: undefined, remaining: 0, window: undefined });
  });

  it.each([undefined, "", "many", "-1", "1;w=", "1e9", "99999999999", "5;w=1;x"])("takes %j for nothing said", (text) =>
    expect(parseQuota({ "ratelimit-limit": "100", "ratelimit-remaining": text })).toBeUndefined());
});

describe("isLow", () => {
  it.each([
    [11, 100, false],
    [10, 100, true],
    [20, 200, true],
    [0, 100, true],
    [3, 10, false],
    [11, undefined, false],
    [10, undefined, true],
  ])("%i of %s: %s", (remaining, limit, low) => expect(isLow({ remaining, limit, window: undefined })).toBe(low));
});
