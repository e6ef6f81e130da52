import { createHash, type Hash } from "node:crypto";
import { algorithmOf, type Digest, type DigestAlgorithm, digestOf } from "./digest.ts";
import { CodedError } from "./errors.ts";

/** Counts and hashes bytes as they pass; never after. Its state can be carried across a resumed upstream read. */
export type Verifier = {
  readonly algorithm: DigestAlgorithm;
  /** Bytes seen so far. */
  readonly size: number;
  update(chunk: Uint8Array): void;
  /** The digest of everything seen. The verifier is spent afterwards. */
  digest(): Digest;
  /** Another one that has seen the same. */
  clone(): Verifier;
};

export function createVerifier(algorithm: DigestAlgorithm): Verifier {
  return verifierOf(algorithm, createHash(algorithm), 0);
}

function verifierOf(algorithm: DigestAlgorithm, hash: Hash, start: number): Verifier {
  let size = start;
  return {
    algorithm,
    get size() {
      return size;
    },
    update(chunk) {
      size += chunk.length;
      hash.update(chunk);
    },
    digest: () => digestOf(algorithm, hash.digest("hex")),
    clone: () => verifierOf(algorithm, hash.copy(), size),
  };
}

export function digestOfBytes(bytes: Uint8Array, algorithm: DigestAlgorithm = "sha256"): Digest {
  return digestOf(algorithm, createHash(algorithm).update(bytes).digest("hex"));
}

/** @throws CodedError DIGEST_INVALID when the bytes are not what the digest says */
export function assertDigest(bytes: Uint8Array, expected: Digest): void {
  const actual = digestOfBytes(bytes, algorithmOf(expected));
  if (actual !== expected) {
    throw new CodedError("DIGEST_INVALID", "content does not match its digest", { detail: { expected, actual } });
  }
}
