import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { isCodedError } from "@cache-registry/core/errors";
import { createVerifier } from "@cache-registry/core/verify";
import { BlobMissingError, type BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { Pace } from "./pace.ts";

/** `damaged`: other bytes than the digest says, too few, or a disk that cannot read them. */
export type Verdict = "good" | "damaged" | "missing";

const BUFFER_BYTES = 256 * 1024;

/** errno(3): what a failing disk or a damaged file system answers to a read. Anything else is no verdict about the bytes. */
const UNREADABLE: ReadonlySet<string> = new Set(["EIO", "EUCLEAN", "EBADMSG"]);

/**
 * Reads a blob at rest from end to end, in one buffer. @throws the store's failure when it is out of reach, the signal's
 * reason when that is aborted
 */
export async function verifyBlob(
  blobs: BlobStore,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  { pace, signal }: { readonly pace?: Pace | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<Verdict> {
  try {
    const reader = await blobs.open(digest);
    try {
      const verifier = createVerifier(algorithmOf(digest));
      const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
      for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer)) {
        signal?.throwIfAborted();
        verifier.update(buffer.subarray(0, count));
        await pace?.(count, signal);
      }
      return verifier.size === size && verifier.digest() === digest ? "good" : "damaged";
    } finally {
      await reader.close();
    }
  } catch (error) {
    if (error instanceof BlobMissingError) return "missing";
    if (UNREADABLE.has(errnoOf(error))) return "damaged";
    throw error;
  }
}

/** Also of what the store made of it for its clients. */
function errnoOf(error: unknown): string {
  const { cause } = isCodedError(error) ? error : { cause: error };
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}
