import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { createDigestLock, type DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { createMemoryBlobStore } from "@cache-registry/storage/blob-store/memory";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { createSqliteMetadataStore } from "@cache-registry/storage/metadata-store/sqlite";

export type TestStores = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  dispose(): Promise<void>;
};

/** For unit tests: blobs in memory, metadata in the real driver. */
export async function openTestStores(grace = 0): Promise<TestStores> {
  const directory = await mkdtemp(join(tmpdir(), "creg-unit-"));
  const metadata = createSqliteMetadataStore({ path: join(directory, "metadata.db"), grace });
  await metadata.start();
  return {
    blobs: createMemoryBlobStore(),
    metadata,
    digestLock: createDigestLock(),
    async dispose() {
      await metadata.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
