import { describe, expect, it } from "vitest";
import { CachedImageSpec, cachedImageName } from "./cached-image.ts";

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Deterministic, so that a failure can be repeated. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomReference(random: (below: number) => number): string {
  const pick = (list: readonly string[]): string => list[random(list.length)] ?? "";
  const registry = pick(["docker.io", "ghcr.io", "harbor.local:5000", "localhost:5000", "a.b", "[::1]:5000"]);
  const parts = Array.from({ length: 1 + random(4) }, () =>
    pick(["a", "b", "a-b", "a_b", "a.b", "a__b", "x".repeat(80)]),
  );
  const tag = pick(["", ":latest", ":1", ":1.0", ":1-0", ":A", ":a", ":_x", `:${"t".repeat(128)}`]);
  const digest = pick([
    "",
    "",
    `@sha256:${"ab".repeat(32)}`,
    `@sha256:${"ab".repeat(31)}00`,
    `@sha512:${"ab".repeat(64)}`,
  ]);
  return `${registry}/${parts.join("/")}${tag}${digest}`;
}

describe("cachedImageName", () => {
  it("is readable", () => {
    expect(cachedImageName("docker.io/library/nginx:1.27")).toMatch(/^docker\.io-library-nginx-1\.27-[a-z2-7]{12}$/);
    const digest = `sha256:${"0123456789ab".padEnd(64, "c")}`;
    expect(cachedImageName(`ghcr.io/team/app@${digest}`)).toMatch(
      /^ghcr\.io-team-app-sha256-0123456789ab-[a-z2-7]{12}$/,
    );
  });

  it("keeps apart what shares a slug", () => {
    const alike = ["r.io/a/b:1", "r.io/a-b:1", "r.io/a_b:1", "r.io/a/b-1", "r.io/a/b:1@sha256:00"];
    expect(new Set(alike.map(cachedImageName)).size).toBe(alike.length);
    expect(cachedImageName("r.io/a:Tag")).not.toBe(cachedImageName("r.io/a:tag"));
  });

  it("is a valid object name, never too long and never shared, for 20,000 random references", () => {
    const random = createRandom(7);
    const names = new Map<string, string>();
    for (let index = 0; index < 20_000; index += 1) {
      const reference = randomReference(random);
      const name = cachedImageName(reference);
      expect(name.length).toBeLessThanOrEqual(253);
      expect(name).toMatch(SUBDOMAIN);
      expect(names.get(name) ?? reference).toBe(reference);
      names.set(name, reference);
    }
    expect(names.size).toBeGreaterThan(1_000);
  });
});

describe("CachedImageSpec", () => {
  it("takes platforms as os/architecture[/variant]", () => {
    const spec = (platform: string): boolean =>
      CachedImageSpec.safeParse({ sourceImage: "docker.io/library/nginx:1", platforms: [platform] }).success;
    expect(["linux/amd64", "linux/arm/v7", "windows/amd64"].every(spec)).toBe(true);
    expect(["linux", "linux/", "Linux/amd64", "a/b/c/d"].some(spec)).toBe(false);
  });
});
