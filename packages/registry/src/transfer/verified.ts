import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { createVerifier } from "@cache-registry/core/verify";
import type { Source } from "./layout.ts";

/** Bytes that are not what they are called by. The message names the digest. */
export class DamagedError extends Error {
  override readonly name = "DamagedError";
  readonly digest: Digest;
  constructor(digest: Digest, what: string) {
    super(`${digest}: ${what}`);
    this.digest = digest;
  }
}

/** Passes the bytes on. @throws DamagedError at the latest behind the last one */
export async function* verified(source: Source, { digest, size }: { digest: Digest; size: number }): Source {
  const verifier = createVerifier(algorithmOf(digest));
  for await (const chunk of source) {
    verifier.update(chunk);
    if (verifier.size > size) break;
    yield chunk;
  }
  if (verifier.size !== size) {
    throw new DamagedError(
      digest,
      `${verifier.size > size ? "more" : `only ${verifier.size}`} than the ${size} bytes stated`,
    );
  }
  if (verifier.digest() !== digest) throw new DamagedError(digest, "the bytes are others than the digest says");
}

/** Reads to the end. */
export async function isIntact(source: Source, blob: { digest: Digest; size: number }): Promise<boolean> {
  try {
    for await (const _ of verified(source, blob));
    return true;
  } catch (error) {
    if (error instanceof DamagedError) return false;
    throw error;
  }
}

export async function bytesOf(source: Source, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of source) {
    total += chunk.length;
    if (total > limit) throw new Error(`a document is larger than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total);
}
