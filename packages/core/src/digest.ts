import { CodedError } from "./errors.ts";

declare const digestBrand: unique symbol;

/** A validated digest, `<algorithm>:<lower-case hex>`. OCI image spec, "Digests". */
export type Digest = string & { readonly [digestBrand]: true };

export const DIGEST_ALGORITHMS = ["sha256", "sha512"] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };
const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const HEX = /^[a-f0-9]+$/;

/** True when the text has the shape `algorithm:encoded`, whether or not we support the algorithm. */
export function looksLikeDigest(text: string): boolean {
  return GRAMMAR.test(text);
}

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, colon);
  const hex = text.slice(colon + 1);
  return isDigestAlgorithm(algorithm) && hex.length === HEX_LENGTH[algorithm] && HEX.test(hex);
}

export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return text === "sha256" || text === "sha512";
}

/** @throws CodedError DIGEST_INVALID */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new CodedError(
    "DIGEST_INVALID",
    `invalid digest: allowed are ${DIGEST_ALGORITHMS.join(" and ")} with lower-case hex`,
    {
      detail: { digest: text.slice(0, 200) },
    },
  );
}

export function digestOf(algorithm: DigestAlgorithm, hex: string): Digest {
  return parseDigest(`${algorithm}:${hex}`);
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

/** The encoded part: lower-case hex. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}
