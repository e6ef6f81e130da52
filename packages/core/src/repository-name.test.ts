import { describe, expect, it } from "vitest";
import { isRepositoryName, isTag, MAX_NAME_LENGTH, parseRepositoryName } from "./repository-name.ts";

describe("isRepositoryName", () => {
  it.each([
    "a",
    "library/nginx",
    "a.b/c_d/e__f/g-h",
    "a---b",
    "docker.io/library/nginx",
    "harbor.local_5000/x",
    "0/1/2",
  ])("accepts %s", (name) => {
    expect(isRepositoryName(name)).toBe(true);
    expect(parseRepositoryName(name)).toBe(name);
  });

  it.each([
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "A",
    "a_",
    "_a",
    "a___b",
    "a..b",
    "a._b",
    ".",
    "..",
    "a/../b",
    "-a",
    "a b",
    "a:b",
    "a\n",
    "é",
    "a%2fb",
  ])("refuses %j", (name) => {
    expect(isRepositoryName(name)).toBe(false);
    expect(() => parseRepositoryName(name)).toThrow("invalid repository name");
  });

  it("counts 255 characters and no more", () => {
    expect(isRepositoryName("a".repeat(MAX_NAME_LENGTH))).toBe(true);
    expect(isRepositoryName("a".repeat(MAX_NAME_LENGTH + 1))).toBe(false);
  });

  it("refuses a flood at once", () => {
    const start = performance.now();
    expect(isRepositoryName("a-".repeat(2_000_000))).toBe(false);
    expect(isRepositoryName(`${"a-".repeat(120)}!`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe("isTag", () => {
  it.each(["latest", "v1.2.3", "_x", "A", "1", "a".repeat(128), "1.0_b-2"])("accepts %s", (tag) => {
    expect(isTag(tag)).toBe(true);
  });
  it.each(["", ".a", "-a", "a/b", "a:b", "a b", "a\n", "é", "a".repeat(129), "sha256:x"])("refuses %j", (tag) => {
    expect(isTag(tag)).toBe(false);
  });
});
