import type { Digest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { assertDigest } from "@cache-registry/core/verify";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";

/** Bytes of manifest documents kept in memory: small, hot and immutable. */
const CAPACITY_BYTES = 32 * 1024 * 1024;

/** Manifest documents by digest: the blob store behind a bounded memory of the most recently used ones. */
export type ManifestDocuments = {
  /** @throws BlobMissingError; CodedError DIGEST_INVALID when the bytes at rest are not what the digest says */
  load(digest: Digest): Promise<Buffer>;
  remember(digest: Digest, bytes: Buffer): void;
  forget(digest: Digest): void;
};

export function createManifestDocuments(blobs: BlobStore): ManifestDocuments {
  const recent = new Map<Digest, Buffer>();
  let held = 0;

  function forget(digest: Digest): void {
    held -= recent.get(digest)?.length ?? 0;
    recent.delete(digest);
  }
  function remember(digest: Digest, bytes: Buffer): void {
    forget(digest);
    recent.set(digest, bytes);
    held += bytes.length;
    for (const oldest of recent.keys()) {
      if (held <= CAPACITY_BYTES) break;
      forget(oldest);
    }
  }
  return {
    forget,
    remember,
    async load(digest) {
      const known = recent.get(digest);
      if (known) {
        remember(digest, known);
        return known;
      }
      const bytes = await readWhole(blobs, digest);
      assertDigest(bytes, digest);
      remember(digest, bytes);
      return bytes;
    },
  };
}

async function readWhole(blobs: BlobStore, digest: Digest): Promise<Buffer> {
  const reader = await blobs.open(digest);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      const count = await reader.read(buffer);
      if (count === 0) return Buffer.concat(chunks, total);
      total += count;
      if (total > MAX_MANIFEST_BYTES) throw new Error(`manifest ${digest} is larger than ${MAX_MANIFEST_BYTES} bytes`);
      chunks.push(buffer.subarray(0, count));
    }
  } finally {
    await reader.close();
  }
}
