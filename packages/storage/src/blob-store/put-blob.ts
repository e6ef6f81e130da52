import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore } from "./blob-store.ts";

/** Stores bytes that are in memory already, such as a manifest's, under the digest that the caller knows to be theirs. */
export async function putBlob(blobs: BlobStore, digest: Digest, bytes: Uint8Array): Promise<void> {
  const writer = await blobs.create();
  try {
    await writer.write(bytes);
    await writer.commit(digest);
  } finally {
    await writer.close();
  }
}
