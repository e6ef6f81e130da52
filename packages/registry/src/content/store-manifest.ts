import type { Digest } from "@cache-registry/core/digest";
import type { ParsedManifest } from "@cache-registry/core/manifest";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { putBlob } from "@cache-registry/storage/blob-store/put-blob";
import type {
  ManifestRecord,
  ManifestReference,
  MetadataStore,
  RepositoryKey,
} from "@cache-registry/storage/metadata-store/metadata-store";
import type { ManifestDocuments } from "./manifest-documents.ts";

export type ManifestContent = {
  readonly repository: RepositoryKey;
  /** Verified by the caller. */
  readonly digest: Digest;
  /** Stored and served verbatim, never changed. */
  readonly bytes: Buffer;
  readonly parsed: ParsedManifest;
  readonly tags: readonly string[];
  /** A push must bring what its manifest refers to; a pull-through fetches it when asked. */
  readonly requireReferences: boolean;
};

export type StoreManifest = (
  content: ManifestContent,
) => Promise<{ readonly record: ManifestRecord; readonly missing: readonly Digest[] }>;

/** Bytes first (temporary file, fsync, rename), then one metadata transaction: links, tags and what is to be reviewed. */
export function createStoreManifest({
  blobs,
  metadata,
  documents,
  digestLock,
  now = Date.now,
}: {
  blobs: BlobStore;
  metadata: MetadataStore;
  documents: ManifestDocuments;
  digestLock: DigestLock;
  now?: () => number;
}): StoreManifest {
  return async ({ repository, digest, bytes, parsed, tags, requireReferences }) => {
    const record = recordOf(digest, bytes.length, parsed);
    // One digest at a time: the collector must not take the bytes between the rename and the transaction.
    return digestLock.run(digest, async (lock) => {
      const held = (await metadata.blob(digest)) !== undefined && (await blobs.stat(digest))?.size === bytes.length;
      if (!held) await putBlob(blobs, digest, bytes);
      const { missing } = await metadata.putManifest({
        repository,
        manifest: record,
        references: referencesOf(parsed),
        tags,
        requireReferences,
        now: now(),
      });
      if (missing.length === 0) documents.remember(digest, bytes);
      else if (!held) await blobs.remove(digest, 0, lock.confirm);
      return { record, missing };
    });
  };
}

export function recordOf(digest: Digest, size: number, parsed: ParsedManifest): ManifestRecord {
  const { mediaType, subject, artifactType, annotations } = parsed;
  return { digest, size, mediaType, subject: subject?.digest ?? null, artifactType: artifactType ?? null, annotations };
}

/**
 * A pushed image brings its config and layers. Children of an index may be elsewhere (sparse indexes), as may
 * non-distributable layers; what is there of them is kept.
 */
function referencesOf({ blobs, nonDistributable, manifests }: ParsedManifest): ManifestReference[] {
  return [
    ...blobs.map(({ digest, size }) => ({ digest, size, kind: "blob" as const })),
    ...nonDistributable.map(({ digest, size }) => ({ digest, size, kind: "blob" as const, optional: true })),
    ...manifests.map(({ digest, size }) => ({ digest, size, kind: "manifest" as const, optional: true })),
  ];
}
