import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { LocalRepository } from "../content/repository.ts";

/** Links a blob that another repository brought. False when it is not here: then its bytes have to be sent. */
export type MountBlob = (repository: LocalRepository, digest: Digest) => Promise<boolean>;

export type MountBlobDeps = {
  readonly blobs: Pick<BlobStore, "stat">;
  readonly metadata: Pick<MetadataStore, "blob" | "linkBlob" | "forgetBlob">;
  readonly digestLock: DigestLock;
  readonly now?: () => number;
};

/** A client that hears yes will not send the bytes, so a row is not enough: a lost volume heals by what is pushed anew. */
export function createMountBlob({ blobs, metadata, digestLock, now = Date.now }: MountBlobDeps): MountBlob {
  return (repository, digest) =>
    digestLock.run(digest, async () => {
      const row = await metadata.blob(digest);
      if (!row) return false;
      if ((await blobs.stat(digest))?.size === row.size) return metadata.linkBlob({ repository, digest, now: now() });
      await metadata.forgetBlob(digest);
      return false;
    });
}
