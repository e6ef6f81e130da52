import type { Health } from "@cache-registry/runtime/health";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { openBlobStore } from "@cache-registry/storage/blob-store/open";
import { openMetadataStore } from "@cache-registry/storage/metadata-store/open";
import { createPullRecorder } from "../access/pull-recorder.ts";
import type { RegistryConfig } from "../config.ts";
import { createManifestDocuments } from "../content/manifest-documents.ts";
import { createStoreManifest } from "../content/store-manifest.ts";
import { createDisk } from "../space/disk.ts";
import { guardBlobs } from "../space/guarded-blobs.ts";
import { addStoreChecks } from "../store-checks.ts";
import { composeReplicas } from "./replicas.ts";

export type Process = { readonly logger: Logger; readonly metrics: Metrics; readonly health: Health };
export type Stores = Awaited<ReturnType<typeof composeStores>>;

/** Where bytes and rows are, and what keeps them in step. */
export async function composeStores(config: RegistryConfig, { logger, metrics, health }: Process) {
  const replication = await composeReplicas(config, { logger, metrics });
  const { digestLock } = replication;
  const blobs = await openBlobStore(config.storage.blobs, { logger, replica: replication.id });
  const metadata = await openMetadataStore(config.storage.metadata, {
    logger,
    grace: config.gc.grace,
    onFatal: endProcess,
  });
  addStoreChecks(health, { blobs, metadata });
  const documents = createManifestDocuments(blobs, digestLock);
  const disk = createDisk({ volume: () => blobs.volume?.(), logger });
  const guarded = guardBlobs(blobs, disk);
  const storeManifest = createStoreManifest({ blobs: guarded, metadata, documents, digestLock });
  const pulls = createPullRecorder({ metadata, logger, shared: replication.id !== undefined });
  return { replication, digestLock, blobs, guarded, disk, metadata, documents, storeManifest, pulls };
}

/** Nothing can be acknowledged without the metadata store: the process ends as on any uncaught error and starts anew. */
function endProcess(error: Error): void {
  queueMicrotask(() => {
    throw error;
  });
}
