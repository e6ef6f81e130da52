import { describe, expect, it } from "vitest";
import {
  componentToRegistry,
  fromCacheReference,
  isCached,
  registryToComponent,
  toCacheReference,
} from "./cache-reference.ts";
import { type ImageReference, parseImageReference } from "./image-reference.ts";
import { randomHost, randomReferenceText } from "./testing/random-reference.ts";
import { createRandom } from "./testing/seeded-random.ts";

const ENDPOINT = "localhost:7439";
const DIGEST = `sha256:${"0".repeat(64)}`;

function read(text: string): ImageReference {
  const reference = parseImageReference(text);
  if (!reference) throw new Error(`${text} is not read`);
  return reference;
}

function rewrite(text: string): string {
  const result = toCacheReference(read(text), ENDPOINT);
  return "image" in result ? result.image : result.failure;
}

describe("toCacheReference", () => {
  it.each([
    ["nginx", "localhost:7439/docker.io/library/nginx"],
    ["nginx:1.27", "localhost:7439/docker.io/library/nginx:1.27"],
    [`a/b:1@${DIGEST}`, `localhost:7439/docker.io/a/b:1@${DIGEST}`],
    [`ghcr.io/a@${DIGEST}`, `localhost:7439/ghcr.io/a@${DIGEST}`],
    ["Harbor.Local:5000/a/b:c", "localhost:7439/harbor.local_5000/a/b:c"],
    ["harbor:5000/a", "localhost:7439/harbor_5000/a"],
    ["localhost/a", "localhost:7439/localhost/a"],
    ["[::1]:5000/a", "invalid"],
    ["[::1]/a", "invalid"],
  ])("%s becomes %s", (text, expected) => {
    expect(rewrite(text)).toBe(expected);
  });

  it("fails above 255 characters of name, whatever the tag and digest add", () => {
    const room = 255 - "localhost:7439/ghcr.io/".length;
    const fits = `ghcr.io/${"a".repeat(room)}`;
    expect(rewrite(`${fits}:${"t".repeat(128)}@${DIGEST}`)).toContain(DIGEST);
    expect(rewrite(`${fits}a`)).toBe("too-long");
  });

  it("is reversible and idempotent for 3000 random references", () => {
    const random = createRandom(42);
    for (let round = 0; round < 3_000; round += 1) {
      const text = randomReferenceText(random);
      const reference = read(text);
      const endpoint = random.pick([ENDPOINT, "cache.example.com", "10.0.0.1:31080"]);
      const cached = toCacheReference(reference, endpoint);
      if (!("image" in cached)) throw new Error(`${text}: ${cached.failure}`);
      expect(isCached(cached.image, endpoint)).toBe(true);
      expect({ text, reference: fromCacheReference(cached.image, endpoint) }).toEqual({ text, reference });
      // Clients must be able to read it: containerd parses it by the same rules.
      expect(read(cached.image).registry).toBe(endpoint);
    }
  });

  it("never gives two references one name", () => {
    const random = createRandom(43);
    const seen = new Map<string, ImageReference>();
    for (let round = 0; round < 3_000; round += 1) {
      const reference = read(
        `${randomHost(random)}/${random.pick(["a", "a/b", "b_1/a"])}${random.pick(["", ":1", ":latest"])}`,
      );
      const cached = toCacheReference(reference, ENDPOINT);
      if (!("image" in cached)) throw new Error(cached.failure);
      expect(seen.get(cached.image) ?? reference).toEqual(reference);
      seen.set(cached.image, reference);
    }
    expect(seen.size).toBeGreaterThan(500);
  });
});

describe("fromCacheReference", () => {
  it.each([
    ["localhost:7439/docker.io/nginx", "a user may leave out library/", "docker.io", "library/nginx"],
    ["localhost:7439/harbor_5000/a", "a listed upstream without a dot", "harbor:5000", "a"],
    ["LOCALHOST:7439/ghcr.io/a", "host names have no case", "ghcr.io", "a"],
    ["localhost:7439/my.registry_5000/a_1/b", "only the first component is a host", "my.registry:5000", "a_1/b"],
  ])("reads %s: %s", (image, _, registry, repository) => {
    expect(fromCacheReference(image, ENDPOINT)).toMatchObject({ registry, repository });
  });

  it("takes a port without a dot for a registry only when it is listed, where there is a list", () => {
    const listed = new Set(["harbor:5000"]);
    const read = (image: string) => fromCacheReference(`${ENDPOINT}/${image}`, ENDPOINT, listed)?.registry;
    expect(["harbor_5000/a", "team_5000/a", "my.host_5000/a", "ghcr.io/a", "localhost/a"].map(read)).toEqual([
      "harbor:5000",
      undefined,
      "my.host:5000",
      "ghcr.io",
      "localhost",
    ]);
  });

  it.each([
    ["localhost:7439/team/app", "a local repository"],
    ["localhost:7439/app", "a local repository of one component"],
    ["localhost:7439", "the endpoint alone"],
    ["localhost:7439/", "nothing behind it"],
    ["localhost:74390/docker.io/a", "another port"],
    ["localhost:7439.example/docker.io/a", "another host"],
    ["docker.io/library/nginx", "not below the endpoint"],
    ["localhost:7439/ghcr.io/", "no repository"],
    ["localhost:7439/ghcr.io_99999/a", "no port"],
    ["localhost:7439/ghcr.io/A", "no repository name"],
    ["localhost:7439//a", "an empty component"],
  ])("is undefined for %s: %s", (image) => {
    expect(fromCacheReference(image, ENDPOINT)).toBeUndefined();
  });
});

it("writes a port into the component and back", () => {
  const random = createRandom(44);
  for (let round = 0; round < 500; round += 1) {
    const { registry } = read(`${randomHost(random)}/a`);
    const component = registryToComponent(registry);
    expect(component).not.toContain(":");
    expect(componentToRegistry(component ?? "")).toBe(registry);
  }
  expect(registryToComponent("[::1]:5000")).toBeUndefined();
});
