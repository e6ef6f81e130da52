import { describe, expect, it } from "vitest";
import { failureOf, parseRetryAfter } from "./failure.ts";
import { codedErrorOf, isServableStale, UpstreamError, type UpstreamErrorKind } from "./upstream-error.ts";

describe("failureOf", () => {
  it.each([
    ["ECONNREFUSED", "unreachable"],
    ["ENOTFOUND", "unreachable"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "unreachable"],
    ["UND_ERR_CONNECT_TIMEOUT", "timeout"],
    ["UND_ERR_HEADERS_TIMEOUT", "timeout"],
    ["HPE_INVALID_CONSTANT", "invalid"],
    ["ERR_ADDRESS_DENIED", "denied-by-policy"],
  ])("%s is %s", (code, kind) => {
    expect(failureOf(Object.assign(new Error("x"), { code }), "docker.io")).toMatchObject({
      kind,
      registry: "docker.io",
    });
  });
});

describe("parseRetryAfter", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");

  it.each([
    ["7", 7000],
    ["0", 0],
    ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["9999999999", 86_400_000],
    ["soon", undefined],
    ["-1", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%s is %s ms", (value, expected) => expect(parseRetryAfter(value, now)).toBe(expected));
});

describe("codedErrorOf", () => {
  const coded = (kind: UpstreamErrorKind, what: "manifest" | "blob" = "manifest") => {
    const { code, status, headers } = codedErrorOf(
      new UpstreamError("x", { kind, registry: "docker.io", retryAfter: 1500 }),
      what,
    );
    return [code, status, headers["retry-after"]];
  };

  it("tells clients what they can act on", () => {
    expect(coded("not-found")).toEqual(["MANIFEST_UNKNOWN", 404, undefined]);
    expect(coded("unauthorized", "blob")).toEqual(["BLOB_UNKNOWN", 404, undefined]);
    expect(coded("denied-by-policy")).toEqual(["NAME_UNKNOWN", 404, undefined]);
    expect(coded("rate-limited")).toEqual(["TOOMANYREQUESTS", 429, "2"]);
    expect(coded("timeout")).toEqual(["UPSTREAM_FAILED", 504, undefined]);
    expect(coded("unreachable")).toEqual(["UPSTREAM_FAILED", 502, undefined]);
  });

  it("an upstream's failure may be answered with held content, an abort may not", () => {
    expect(isServableStale(new UpstreamError("x", { kind: "timeout", registry: "docker.io" }))).toBe(true);
    expect(isServableStale(new DOMException("aborted", "AbortError"))).toBe(false);
  });
});
