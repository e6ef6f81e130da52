import { parseImageReference } from "@cache-registry/core/image-reference";
import { describe, expect, it } from "vitest";
import { createImageMatcher, isImagePattern } from "./image-pattern.ts";

function matches(pattern: string, image: string): boolean {
  const reference = parseImageReference(image);
  if (!reference) throw new Error(`${image} is not read`);
  return createImageMatcher([pattern])(reference);
}

describe("a pattern", () => {
  it.each([
    ["gcr.io", "gcr.io/a/b:1"],
    ["GCR.io", "gcr.io/a"],
    ["gcr.io", "GCR.IO/a"],
    ["*.gcr.io", "eu.gcr.io/a"],
    ["*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/a"],
    ["harbor.local:5000", "harbor.local:5000/a"],
    ["harbor.local:*", "harbor.local:5000/a"],
    ["harbor:5000", "harbor:5000/a"],
    ["*:5000", "harbor.local:5000/a"],
    ["docker.io/*", "nginx"],
    ["docker.io/*nginx", "nginx"],
    ["docker.io", "nginx"],
    ["index.docker.io", "nginx"],
    ["docker.io/library/*", "nginx:1"],
    ["docker.io/library/nginx", `nginx@sha256:${"a".repeat(64)}`],
    ["index.docker.io/grafana/*", "grafana/loki"],
    ["ghcr.io/*", "ghcr.io/a/b/c"],
    ["ghcr.io/Acme/*", "ghcr.io/acme/b"],
    ["*/mirror/*", "quay.io/mirror/a"],
    ["*", "nginx"],
    ["*.*", "ghcr.io/a"],
    ["*a*a*", "a.example.aa/x"],
  ])("%s matches %s", (pattern, image) => {
    expect(isImagePattern(pattern)).toBe(true);
    expect(matches(pattern, image)).toBe(true);
  });

  it.each([
    ["gcr.io", "eu.gcr.io/a", "it is anchored in front"],
    ["gcr.io", "gcr.io.example.com/a", "and behind"],
    ["*.gcr.io", "gcr.io/a", "the dot counts"],
    ["*.gcr.io", "eugcr.io/a", "the dot counts"],
    ["gcr.io", "gcr.io:443/a", "a port is part of the name"],
    ["gcrxio.*", "gcr.io/a", "a dot is a dot"],
    ["docker.io/nginx", "nginx", "library/ is spelled out"],
    ["ghcr.io/acme", "ghcr.io/acme/b", "it is anchored in repositories too"],
    ["ghcr.io/acme/*", "ghcr.io/acme2/b", "the slash counts"],
    ["*.io", "quay.io.example.com/x.io", "without a slash it is only compared with the registry"],
    ["ab.*b.c", "ab.c/x", "parts do not overlap"],
  ])("%s does not match %s: %s", (pattern, image) => {
    expect(matches(pattern, image)).toBe(false);
  });

  it.each([
    "",
    "nginx",
    "library/nginx",
    "ghcr.io/",
    "ghcr.io//a",
    "ghcr.io/a b",
    "ghcr.io/a@sha256:1",
    "nginx:1.27",
    "docker.io/library/nginx:1.27",
    "docker.io/library/nginx:*",
    "*/nginx:latest",
    "*:1.27",
    "docker.io/nginx",
    "index.docker.io/nginx",
    "ghcr.io:http",
  ])("such as %j, which could never match, is refused", (pattern) => {
    expect(isImagePattern(pattern)).toBe(false);
  });
});

it("needs one of several, and none of none", () => {
  const reference = parseImageReference("ghcr.io/a");
  if (!reference) throw new Error("not read");
  expect(createImageMatcher(["quay.io", "ghcr.io"])(reference)).toBe(true);
  expect(createImageMatcher([])(reference)).toBe(false);
});

it("takes no exponential time for many stars", () => {
  const start = performance.now();
  expect(matches(`${"*a".repeat(60)}*b`, `${"a".repeat(200)}.example.com/c`)).toBe(false);
  expect(performance.now() - start).toBeLessThan(100);
});
