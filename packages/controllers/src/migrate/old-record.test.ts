import { describe, expect, it } from "vitest";
import { convertRecord } from "./old-record.ts";

const convert = (sourceImage: unknown, retain?: unknown) =>
  convertRecord(
    { metadata: { name: "old" }, spec: { sourceImage, retain } },
    new Set(["harbor:5000", "reg.example.com:443"]),
  );

describe("a predecessor's record", () => {
  it.each([
    ["nginx", "docker.io/library/nginx:latest"],
    ["ghcr.io/team/app:1", "ghcr.io/team/app:1"],
    ["harbor-5000/team/app:1", "harbor:5000/team/app:1"],
    ["reg.example.com-443/team/app", "reg.example.com:443/team/app:latest"],
    [`quay.io/a/b@sha256:${"a".repeat(64)}`, `quay.io/a/b@sha256:${"a".repeat(64)}`],
  ])("%s becomes %s", (source, sourceImage) => {
    expect(convert(source)).toEqual({ spec: { sourceImage } });
  });

  it("keeps retain, and nothing else", () => {
    expect(convert("nginx:1", true)).toEqual({ spec: { sourceImage: "docker.io/library/nginx:1", retain: true } });
    expect(convert("nginx:1", false)).toEqual({ spec: { sourceImage: "docker.io/library/nginx:1" } });
  });

  it("is taken as it stands, with a word of doubt, when its host may hold a port", () => {
    expect(convert("reg.other.com-8443/app")).toEqual({
      spec: { sourceImage: "reg.other.com-8443/app:latest" },
      warning: expect.stringContaining("--registry reg.other.com:8443"),
    });
  });

  it.each([["not an image"], [""], [7], [undefined]])("is refused, by name, with %j", (source) => {
    expect(convert(source)).toEqual({ refused: expect.stringMatching(/no image reference|no spec.sourceImage/) });
  });
});
