import { describe, expect, it } from "vitest";
import { parsePath } from "./path.ts";

describe("parsePath", () => {
  it.each([
    ["/v2", { kind: "ping" }],
    ["/v2/", { kind: "ping" }],
    ["/v2/_catalog", { kind: "catalog" }],
    ["/v2/a/tags/list", { kind: "tags", name: "a" }],
    ["/v2/a/b/c/tags/list", { kind: "tags", name: "a/b/c" }],
    ["/v2/a/b/manifests/latest", { kind: "manifest", name: "a/b", reference: "latest" }],
    ["/v2/a/blobs/sha256:abc", { kind: "blob", name: "a", digest: "sha256:abc" }],
    ["/v2/a/blobs/sha256%3Aabc", { kind: "blob", name: "a", digest: "sha256:abc" }],
    ["/v2/a/b/referrers/sha256:abc", { kind: "referrers", name: "a/b", digest: "sha256:abc" }],
    ["/v2/a/blobs/uploads", { kind: "uploads", name: "a" }],
    ["/v2/a/blobs/uploads/", { kind: "uploads", name: "a" }],
    ["/v2/a/blobs/uploads/some-id", { kind: "upload", name: "a", id: "some-id" }],
  ])("%s", (path, expected) => {
    expect(parsePath(path)).toEqual(expected);
  });

  it("reads names that hold the words of the API from their end", () => {
    expect(parsePath("/v2/manifests/blobs/manifests/v1")).toEqual({
      kind: "manifest",
      name: "manifests/blobs",
      reference: "v1",
    });
    expect(parsePath("/v2/tags/list/tags/list")).toEqual({ kind: "tags", name: "tags/list" });
    expect(parsePath("/v2/a/blobs/uploads/manifests/v1")).toEqual({
      kind: "manifest",
      name: "a/blobs/uploads",
      reference: "v1",
    });
  });

  it("knows nothing else", () => {
    for (const path of [
      "/",
      "/v1/",
      "/v2/a",
      "/v2/a/b",
      "/v2/manifests/v1",
      "/v2/a/manifests/",
      "/v2x/a/manifests/b",
    ]) {
      expect(parsePath(path)).toBeUndefined();
    }
  });

  it("refuses broken percent-encoding", () => {
    expect(() => parsePath("/v2/%zz/manifests/x")).toThrow("percent-encoding");
  });
});
