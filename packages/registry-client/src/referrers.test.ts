import { digestOfBytes } from "@cache-registry/core/verify";
import { describe, expect, it } from "vitest";
import { parseReferrers, referrersTag, sortReferrers } from "./referrers.ts";

const digest = digestOfBytes(Buffer.from("a"));
const entry = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 3 };
const parse = (value: unknown) => parseReferrers(Buffer.from(JSON.stringify(value)));

describe("referrersTag", () => {
  it("is algorithm and encoded part, the latter cut at 64 characters", () => {
    expect(referrersTag(digest)).toBe(digest.replace(":", "-"));
    const long = digestOfBytes(Buffer.from("a"), "sha512");
    expect(referrersTag(long)).toBe(`sha512-${long.slice(7, 71)}`);
  });
});

describe("parseReferrers", () => {
  it("keeps what the API tells of a descriptor, and nothing else", () => {
    const annotations = { "org.example.key": "value" };
    const full = { ...entry, artifactType: "type/x", annotations };
    expect(parse({ manifests: [{ ...full, data: "e30=", urls: ["https://example.com"] }, entry] })).toEqual([
      full,
      entry,
    ]);
  });

  it("leaves out what is no descriptor, and fields that are wrong", () => {
    const wrong = [null, 1, {}, { ...entry, digest: "sha256:x" }, { ...entry, size: -1 }, { ...entry, mediaType: "" }];
    expect(parse({ manifests: [...wrong, { ...entry, artifactType: 5, annotations: { a: 1 } }] })).toEqual([entry]);
  });

  it.each([
    [[]],
    ["text"],
    [{}],
    [{ manifests: {} }],
    [{ manifests: Array(10_001).fill(0) }],
  ])("knows that %j is no index", (value) => {
    expect(parse(value)).toBeUndefined();
  });

  it("knows that broken JSON is no index", () => {
    expect(parseReferrers(Buffer.from("{"))).toBeUndefined();
  });
});

describe("sortReferrers", () => {
  it("lists each digest once, in order", () => {
    const others = ["b", "c", "d"].map((text) => ({ ...entry, digest: digestOfBytes(Buffer.from(text)) }));
    const sorted = sortReferrers([...others, ...others.toReversed()]).map((referrer) => referrer.digest);
    expect(sorted).toEqual(others.map((referrer) => referrer.digest).toSorted());
  });
});
