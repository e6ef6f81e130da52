import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { type ImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import { parseManifest } from "@cache-registry/core/manifest";
import { assertDigest, createVerifier } from "@cache-registry/core/verify";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { type MetadataStore, PINNED_FOR_EVER } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import type { StoreManifest } from "../content/store-manifest.ts";

/** Content that comes into an upstream's repository from an archive instead of the upstream. */
export type ImportContent = {
  hasBlob(repository: UpstreamRepository, digest: Digest): Promise<boolean>;
  hasManifest(repository: UpstreamRepository, digest: Digest): Promise<boolean>;
  /** Verified while it streams. @throws CodedError DIGEST_INVALID; nothing of it is kept then */
  blob(repository: UpstreamRepository, digest: Digest, body: AsyncIterable<Uint8Array>): Promise<void>;
  /** @throws CodedError MANIFEST_BLOB_UNKNOWN naming the blobs that must come first */
  manifest(repository: UpstreamRepository, manifest: ImportedManifest): Promise<void>;
  /** Holds the image for this owner until it is released. @throws CodedError MANIFEST_UNKNOWN when it is not here */
  pin(reference: ImageReference, repository: UpstreamRepository, owner: string): Promise<void>;
};

export type ImportedManifest = {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly tags: readonly string[];
};

export type ImportContentDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly storeManifest: StoreManifest;
  readonly now?: () => number;
};

export function createImportContent(deps: ImportContentDeps): ImportContent {
  const { blobs, metadata, digestLock, storeManifest, now = Date.now } = deps;

  async function isHeld(digest: Digest): Promise<boolean> {
    const row = await metadata.blob(digest);
    return row !== undefined && (await blobs.stat(digest))?.size === row.size;
  }

  return {
    async hasBlob(repository, digest) {
      if (!(await isHeld(digest))) return false;
      // Another repository has it: the link is all that is missing. Whoever may import may read everything.
      return metadata.linkBlob({ repository: keyOf(repository), digest, now: now() });
    },
    hasManifest: async ({ name }, digest) =>
      (await metadata.manifest(name, digest)) !== undefined && (await isHeld(digest)),
    async blob(repository, digest, body) {
      const writer = await blobs.create();
      try {
        const verifier = createVerifier(algorithmOf(digest));
        for await (const chunk of body) {
          await writer.write(chunk);
          verifier.update(chunk);
        }
        const actual = verifier.digest();
        if (actual !== digest)
          throw new CodedError("DIGEST_INVALID", undefined, { detail: { expected: digest, actual } });
        const { size } = writer;
        await writer.prepare?.(digest);
        await digestLock.run(digest, async () => {
          await writer.commit(digest);
          await metadata.linkBlob({ repository: keyOf(repository), digest, size, now: now() });
        });
      } finally {
        await writer.close();
      }
    },
    async manifest(repository, { digest, bytes, mediaType, tags }) {
      assertDigest(bytes, digest);
      const parsed = parseManifest(bytes, mediaType);
      const stored = { repository: keyOf(repository), digest, bytes, parsed, tags, requireReferences: true };
      const { missing } = await storeManifest(stored);
      if (missing.length === 0) return;
      throw new CodedError("MANIFEST_BLOB_UNKNOWN", undefined, { detail: missing.map((each) => ({ digest: each })) });
    },
    async pin(reference, { name }, owner) {
      const { tag, digest } = withDefaultTag(reference);
      const held = digest ?? (await metadata.tag(name, tag ?? "latest"))?.digest;
      if (held === undefined || !(await metadata.manifest(name, held))) throw new CodedError("MANIFEST_UNKNOWN");
      const text = printImageReference(withDefaultTag(reference));
      await metadata.putImage({ reference: text, owner, pinnedUntil: PINNED_FOR_EVER, platforms: [], now: now() });
    },
  };
}

/** As the metadata store knows it: without the path at the upstream. */
function keyOf({ name, upstream }: UpstreamRepository): { name: string; upstream: string } {
  return { name, upstream };
}
