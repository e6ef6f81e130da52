import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { BlobMissingError, type BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { quarantine } from "./quarantine.ts";

/** Bytes of manifest documents kept in memory: small, hot and immutable. */
const CAPACITY_BYTES = 32 * 1024 * 1024;

/** Manifest documents by digest: the blob store behind a bounded memory of the most recently used ones. */
export type ManifestDocuments = {
  /** Bytes at rest that are not what the digest says are quarantined. @throws BlobMissingError then, and without bytes */
  load(digest: Digest): Promise<Buffer>;
  remember(digest: Digest, bytes: Buffer): void;
  /** What memory holds of a document, without a look at the store. */
  recall(digest: Digest): Buffer | undefined;
};

export function createManifestDocuments(blobs: BlobStore, digestLock: DigestLock): ManifestDocuments {
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
  /** Damaged bytes are in the way of good ones; but first they are looked at once more, with nobody replacing them. */
  async function readAgain(digest: Digest): Promise<Buffer> {
    return digestLock.run(digest, async (lock) => {
      const bytes = await readVerified(blobs, digest);
      if (bytes) return bytes;
      await quarantine(blobs, digest, lock.confirm);
      throw new BlobMissingError(digest);
    });
  }
  return {
    remember,
    recall: (digest) => recent.get(digest),
    async load(digest) {
      const known = recent.get(digest);
      if (known) {
        remember(digest, known);
        return known;
      }
      const bytes = (await readVerified(blobs, digest)) ?? (await readAgain(digest));
      remember(digest, bytes);
      return bytes;
    },
  };
}

/** Undefined when they are damaged. */
async function readVerified(blobs: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const bytes = await readWhole(blobs, digest);
  return digestOfBytes(bytes, algorithmOf(digest)) === digest ? bytes : undefined;
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
      // Damaged in any case.
      if (total > MAX_MANIFEST_BYTES) return Buffer.alloc(0);
      chunks.push(buffer.subarray(0, count));
    }
  } finally {
    await reader.close();
  }
}
