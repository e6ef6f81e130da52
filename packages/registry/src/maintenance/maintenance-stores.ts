import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { createDigestLock, type DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { openBlobStore } from "@cache-registry/storage/blob-store/open";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { openMetadataStore } from "@cache-registry/storage/metadata-store/open";
import type { RegistryConfig } from "../config.ts";
import { createManifestDocuments, type ManifestDocuments } from "../content/manifest-documents.ts";

/** The stores of a registry that is not running, for one command. */
export type MaintenanceStores = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly documents: ManifestDocuments;
  close(): Promise<void>;
};

/** @throws Error when a registry runs on them */
export async function openMaintenanceStores(config: RegistryConfig, logger: Logger): Promise<MaintenanceStores> {
  if (config.storage.metadata.driver !== "sqlite") {
    throw new Error("with this metadata store nobody knows whether a registry runs: start one, and it does the work");
  }
  const metadata = await openMetadataStore(config.storage.metadata, { logger, grace: config.gc.grace });
  const blobs = await openBlobStore(config.storage.blobs, { logger });
  // First, as it refuses a second process: the blob store's start removes temporary files.
  await metadata.start();
  try {
    await blobs.start();
  } catch (error) {
    await metadata.close();
    throw error;
  }
  const digestLock = createDigestLock();
  return {
    blobs,
    metadata,
    digestLock,
    documents: createManifestDocuments(blobs, digestLock),
    async close() {
      await blobs.close();
      await metadata.close();
    },
  };
}
