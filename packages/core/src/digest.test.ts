import { describe, expect, it } from "vitest";
import { algorithmOf, digestOf, hexOf, isDigest, isDigestAlgorithm, looksLikeDigest, parseDigest } from "./digest.ts";
import { isCodedError } from "./errors.ts";
import { createRandom } from "./testing/seeded-random.ts";

const SHA256 = `sha256:${"0123456789abcdef".repeat(4)}`;
const SHA512 = `sha512:${"0123456789abcdef".repeat(8)}`;

describe("isDigest", () => {
  it.each([SHA256, SHA512])("accepts %s", (text) => {
    expect(isDigest(text)).toBe(true);
    expect(looksLikeDigest(text)).toBe(true);
    expect(parseDigest(text)).toBe(text);
  });

  it.each([
    ["empty", ""],
    ["no algorithm", SHA256.slice(7)],
    ["empty algorithm", `:${"a".repeat(64)}`],
    ["upper-case hex", SHA256.toUpperCase().replace("SHA256", "sha256")],
    ["upper-case algorithm", SHA256.replace("sha256", "SHA256")],
    ["one character short", SHA256.slice(0, -1)],
    ["one character long", `${SHA256}0`],
    ["not hex", `sha256:${"g".repeat(64)}`],
    ["length of the other algorithm", `sha512:${"a".repeat(64)}`],
    ["an algorithm we cannot compute", `blake3:${"a".repeat(64)}`],
    ["a name of every object", `constructor:${"a".repeat(64)}`],
    ["newline at the end", `${SHA256}\n`],
    ["space in front", ` ${SHA256}`],
    ["traversal", "sha256:../../../etc/passwd"],
    ["two digests", `${SHA256}@${SHA256}`],
  ])("refuses: %s", (_, text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow("invalid digest");
  });

  it("refuses every digest with one character changed to one outside the alphabet", () => {
    const random = createRandom(1);
    for (let round = 0; round < 500; round += 1) {
      const at = random.below(SHA256.length);
      const changed =
        SHA256.slice(0, at) + random.pick(["/", ".", "%", "Z", " ", "\u0000", "é"]) + SHA256.slice(at + 1);
      expect({ changed, accepted: isDigest(changed) }).toEqual({ changed, accepted: false });
    }
  });

  it("keeps what it echoes short", () => {
    const error = (() => {
      try {
        return parseDigest("x".repeat(1_000_000));
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(isCodedError(error) && error.code).toBe("DIGEST_INVALID");
    expect(JSON.stringify(isCodedError(error) && error.detail).length).toBeLessThan(300);
  });
});

describe("looksLikeDigest", () => {
  it.each(["sha256+b64:AZaz09=_-", "a.b-c:0", "blake3:abcdef"])("accepts the shape of %s", (text) => {
    expect(looksLikeDigest(text)).toBe(true);
  });
  it.each(["latest", "a:b:c", "+a:b", "a+:b", "a:", ":b", "A:b", "a b:c"])("refuses %s", (text) => {
    expect(looksLikeDigest(text)).toBe(false);
  });
  it("takes no more than linear time", () => {
    const start = performance.now();
    expect(looksLikeDigest(`${"a+".repeat(500_000)}!`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

it("takes a digest apart and puts it together", () => {
  for (const text of [SHA256, SHA512]) {
    const digest = parseDigest(text);
    expect(digestOf(algorithmOf(digest), hexOf(digest))).toBe(digest);
  }
  expect(isDigestAlgorithm("md5")).toBe(false);
});
