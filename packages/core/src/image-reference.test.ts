import { describe, expect, it } from "vitest";
import {
  looksLikeRegistry,
  manifestReferenceOf,
  normalizeRegistry,
  parseImageReference,
  printImageReference,
  withDefaultTag,
} from "./image-reference.ts";
import { randomReferenceText } from "./testing/random-reference.ts";
import { createRandom } from "./testing/seeded-random.ts";

const HEX = "0123456789abcdef".repeat(4);
const DIGEST = `sha256:${HEX}`;

/** As Docker's own rule reads them (distribution/reference, ParseNormalizedNamed). */
const VALID: readonly (readonly [string, string])[] = [
  ["nginx", "docker.io/library/nginx"],
  ["nginx:1.27", "docker.io/library/nginx:1.27"],
  [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`],
  [`nginx:1.27@${DIGEST}`, `docker.io/library/nginx:1.27@${DIGEST}`],
  ["grafana/grafana", "docker.io/grafana/grafana"],
  ["docker.io/nginx", "docker.io/library/nginx"],
  ["index.docker.io/nginx", "docker.io/library/nginx"],
  ["registry-1.docker.io/a/b", "docker.io/a/b"],
  ["DOCKER.IO/nginx", "docker.io/library/nginx"],
  ["ghcr.io/a", "ghcr.io/a"],
  ["Ghcr.IO/a/b:T", "ghcr.io/a/b:T"],
  ["localhost/a", "localhost/a"],
  ["localhost:5000/a:1", "localhost:5000/a:1"],
  ["harbor:5000/a/b/c", "harbor:5000/a/b/c"],
  ["10.0.0.1:443/a", "10.0.0.1:443/a"],
  ["[::1]:5000/a", "[::1]:5000/a"],
  ["[2001:DB8::1]/a", "[2001:db8::1]/a"],
  ["a__b/c---d/e.f", "docker.io/a__b/c---d/e.f"],
  ["example.com/a_5000/b", "example.com/a_5000/b"],
  [`ghcr.io/${HEX}`, `ghcr.io/${HEX}`],
  ["sha256:latest", "docker.io/library/sha256:latest"],
];

const INVALID: readonly (readonly [string, string])[] = [
  ["empty", ""],
  ["blank", " "],
  ["a space", "ng inx"],
  ["a space behind", "nginx "],
  ["a newline behind", "nginx\n"],
  ["upper case", "Nginx"],
  ["an upper-case first component without a dot, a host for Docker", "MyHost/app"],
  ["a scheme", "https://ghcr.io/a"],
  ["user information", "user:password@ghcr.io/a"],
  ["an empty tag", "nginx:"],
  ["two tags", "nginx:1:2"],
  ["a bad tag", "nginx:-1"],
  ["a long tag", `nginx:${"a".repeat(129)}`],
  ["an empty digest", "nginx@"],
  ["a short digest", "nginx@sha256:abcd"],
  ["an unknown algorithm", `nginx@md5:${"a".repeat(32)}`],
  ["two digests", `nginx@${DIGEST}@${DIGEST}`],
  ["a tag behind the digest", `nginx@${DIGEST}:1`],
  ["only a digest", `@${DIGEST}`],
  ["an image id", DIGEST],
  ["an image id without its algorithm", HEX],
  ["no repository", "ghcr.io/"],
  ["a leading slash", "/nginx"],
  ["an empty component", "ghcr.io//a"],
  ["a trailing slash", "ghcr.io/a/"],
  ["traversal", "ghcr.io/../a"],
  ["port 0", "ghcr.io:0/a"],
  ["a port too large", "ghcr.io:65536/a"],
  ["an empty port", "ghcr.io:/a"],
  ["a host with an underscore", "my_host.example/a"],
  ["a host with a trailing dot", "ghcr.io./a"],
  ["a host with an empty label", "a..b/c"],
  ["a label that ends in a hyphen", "a-.b/c"],
  ["an IPv6 literal without brackets", "::1/a"],
  ["256 characters of repository", `ghcr.io/${"a".repeat(256)}`],
  ["a null byte", "nginx\u0000"],
  ["a letter outside ASCII", "nginxé"],
];

describe("parseImageReference", () => {
  it.each(VALID)("reads %s as %s", (text, normalized) => {
    const reference = parseImageReference(text);
    expect(reference && printImageReference(reference)).toBe(normalized);
  });

  it.each(INVALID)("refuses %s", (_, text) => {
    expect(parseImageReference(text)).toBeUndefined();
  });

  it("prints what it reads as the same again, for 3000 random references", () => {
    const random = createRandom(20261121);
    for (let round = 0; round < 3_000; round += 1) {
      const text = randomReferenceText(random);
      const reference = parseImageReference(text);
      if (reference === undefined) throw new Error(`round ${round}: ${text} is not read`);
      const printed = printImageReference(reference);
      expect({ text, reference: parseImageReference(printed) }).toEqual({ text, reference });
      expect(printed).toContain(text.slice(text.lastIndexOf("/")));
    }
  });

  it("reads or refuses any text, in linear time", () => {
    const random = createRandom(7);
    for (let round = 0; round < 3_000; round += 1) {
      const text = random.text("aA0.:/@-_[] é\n", random.below(40));
      const reference = parseImageReference(text);
      expect(reference && parseImageReference(printImageReference(reference))).toEqual(reference);
    }
    const start = performance.now();
    for (const flood of ["a-", "a.", "a/", "a:", "@", "[", "a_"]) {
      expect(parseImageReference(`${flood.repeat(500_000)}/!`)).toBeUndefined();
    }
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe("normalizeRegistry", () => {
  it.each(["-a.b", "a.b-", "a b", "a/b", "", "[zz]", "[::1", "a:99999", "a".repeat(256)])("refuses %j", (host) => {
    expect(normalizeRegistry(host)).toBeUndefined();
  });
});

it("tells a registry from the first component of a repository", () => {
  expect(["a.b", "a:1", "localhost"].every(looksLikeRegistry)).toBe(true);
  expect(["a", "library", "localhosts", "a_5000"].some(looksLikeRegistry)).toBe(false);
});

it.each([
  ["nginx", "docker.io/library/nginx:latest", "latest"],
  ["nginx:1", "docker.io/library/nginx:1", "1"],
  [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`, DIGEST],
  [`nginx:1@${DIGEST}`, `docker.io/library/nginx:1@${DIGEST}`, DIGEST],
])("spells out what %s asks for", (text, withTag, manifest) => {
  const reference = parseImageReference(text);
  if (!reference) throw new Error("not read");
  expect(printImageReference(withDefaultTag(reference))).toBe(withTag);
  expect(manifestReferenceOf(reference)).toBe(manifest);
});
