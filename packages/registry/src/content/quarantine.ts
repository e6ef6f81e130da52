import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore, Confirm } from "@cache-registry/storage/blob-store/blob-store";

/** Takes damaged bytes out of the way of good ones, and keeps them where the store can. Only under the digest lock. */
export async function quarantine(blobs: BlobStore, digest: Digest, confirm: Confirm): Promise<void> {
  await (blobs.quarantine?.(digest, confirm) ?? blobs.remove(digest, 0, confirm));
}
