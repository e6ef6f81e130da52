import { expect, it } from "vitest";
import { Descriptor, DigestText } from "./descriptor.ts";

const digest = `sha256:${"a".repeat(64)}`;

it("keeps the fields we use and drops the rest", () => {
  const used = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest,
    size: 0,
    platform: { os: "linux", architecture: "arm", variant: "v7" },
    artifactType: "a/b",
    annotations: { "org.opencontainers.image.title": "x" },
  };
  const platform = { ...used.platform, "os.version": "10", features: [] };
  expect(Descriptor.parse({ ...used, platform, urls: [], data: "" })).toEqual(used);
});

it.each([
  ["digest", "sha256:a"],
  ["digest", undefined],
  ["size", undefined],
  ["size", Number.NaN],
  ["size", -0.5],
  ["mediaType", 1],
  ["annotations", { a: null }],
  ["annotations", null],
  ["platform", "linux/amd64"],
])("refuses %s: %j", (field, value) => {
  const result = Descriptor.safeParse({ mediaType: "a", digest, size: 1, [field]: value });
  expect(result.error?.issues[0]?.path[0]).toBe(field);
});

it("brands only digests", () => {
  expect(DigestText.safeParse(digest).success).toBe(true);
  expect(DigestText.safeParse(5).success).toBe(false);
});
