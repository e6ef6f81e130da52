import type { Random } from "./seeded-random.ts";

const ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789";
const HEX = "0123456789abcdef";

function component(random: Random): string {
  let text = random.text(ALPHANUMERIC, 1 + random.below(6));
  while (random.chance(0.3)) {
    text += random.pick([".", "_", "__", "-", "---"]) + random.text(ALPHANUMERIC, 1 + random.below(4));
  }
  return text;
}

export function randomHost(random: Random): string {
  const host = random.pick([
    "docker.io",
    "index.docker.io",
    "ghcr.io",
    "10.1.2.3",
    "xn--bcher-kva.example",
    `${random.text(ALPHANUMERIC, 3)}.${random.text(ALPHANUMERIC, 3)}.example.com`,
    `A-${random.text(ALPHANUMERIC, 2)}.Example`,
  ]);
  return random.chance(0.3) ? `${host}:${1 + random.below(65_535)}` : host;
}

/** A valid reference as a user may write it: short names, ports, tags, digests. The registry has a dot where there is one. */
export function randomReferenceText(random: Random): string {
  const path = Array.from({ length: 1 + random.below(3) }, () => component(random));
  // Without a registry, a first component that looks like one would be taken for it, and 64 hex digits for an image id.
  const registry = random.chance(0.7) ? `${randomHost(random)}/` : `u${random.text(ALPHANUMERIC, 3)}/`;
  const tag = random.chance(0.5)
    ? `:${random.text(`${ALPHANUMERIC}ABC_`, 1)}${random.text(`${ALPHANUMERIC}.-_Z`, random.below(20))}`
    : "";
  const algorithm = random.pick(["sha256", "sha512"]);
  const digest = random.chance(0.3) ? `@${algorithm}:${random.text(HEX, algorithm === "sha256" ? 64 : 128)}` : "";
  return `${registry}${path.join("/")}${tag}${digest}`;
}
