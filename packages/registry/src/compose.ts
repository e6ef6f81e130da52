import { createLiveUpstreams } from "@cache-registry/registry-client/live-upstreams";
import { createBufferPool } from "@cache-registry/runtime/buffer-pool";
import { createCertificate } from "@cache-registry/runtime/certificate";
import { createHealth, type Health } from "@cache-registry/runtime/health";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { createMetrics, type Metrics } from "@cache-registry/runtime/metrics";
import { createSchedule } from "@cache-registry/runtime/schedule";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { createServer } from "@cache-registry/runtime/server";
import { releaseReserveOfFullDisk } from "@cache-registry/storage/blob-store/filesystem-volume";
import { openBlobStore } from "@cache-registry/storage/blob-store/open";
import { redirectOf } from "@cache-registry/storage/blob-store/redirect";
import { openMetadataStore } from "@cache-registry/storage/metadata-store/open";
import { accessDetails } from "./access/outcome.ts";
import { createPullRecorder } from "./access/pull-recorder.ts";
import { addRoutes, repositoryOf } from "./app.ts";
import { authenticatorsOf } from "./auth/authenticators.ts";
import { createAuthorizer } from "./auth/authorize.ts";
import { composeReplicas } from "./compose-replicas.ts";
import { isLoopback, type RegistryConfig } from "./config.ts";
import { createManifestDocuments } from "./content/manifest-documents.ts";
import { createReadBlob } from "./content/read-blob.ts";
import { createManifestReader } from "./content/read-manifest.ts";
import { createReadReferrers } from "./content/read-referrers.ts";
import { createStoreManifest } from "./content/store-manifest.ts";
import { createCollector } from "./gc/collector.ts";
import { createReclaim } from "./gc/reclaim.ts";
import { createHealBlob } from "./maintenance/heal-blob.ts";
import { createMetadataSnapshots } from "./maintenance/metadata-snapshots.ts";
import { createRefetch } from "./maintenance/refetch.ts";
import { createScrub, type Scrub } from "./maintenance/scrub.ts";
import { createImages } from "./management/images.ts";
import { addManagementRoutes } from "./management/routes.ts";
import { openManagementServer } from "./management/server.ts";
import { createWarmUp } from "./management/warm-up.ts";
import { createWarmUpGate } from "./management/warm-up-gate.ts";
import { type Plugin, registerPlugins } from "./plugins.ts";
import { createBlobSource } from "./pull-through/blob-source.ts";
import { createManifestSource } from "./pull-through/manifest-source.ts";
import { createNotStored } from "./pull-through/not-stored.ts";
import { createPullThroughMetrics } from "./pull-through/pull-through-metrics.ts";
import { createReferrersSource } from "./pull-through/referrers-source.ts";
import { createMountBlob } from "./push/mount-blob.ts";
import { createUploadSessions } from "./push/upload-sessions.ts";
import { blobRoutes } from "./routes/blobs.ts";
import { createCatalog } from "./routes/catalog.ts";
import { manifestRoutes } from "./routes/manifests.ts";
import { referrersRoutes } from "./routes/referrers.ts";
import { tagRoutes } from "./routes/tags.ts";
import { uploadRoutes, uploadsRoutes } from "./routes/uploads.ts";
import { createBlobSender } from "./serving/blob-sender.ts";
import { createDisk } from "./space/disk.ts";
import { guardBlobs } from "./space/guarded-blobs.ts";
import { createSpaceKeeper } from "./space/space-keeper.ts";
import { addStoreChecks } from "./store-checks.ts";

import { createImportContent } from "./transfer/import-content.ts";

const WARM_BY_DEFAULT = [`linux/${process.arch === "x64" ? "amd64" : process.arch}`];

export type Composition = {
  readonly health: Health;
  readonly metrics: Metrics;
  readonly services: readonly Service[];
  /** Goes on with another configuration, as far as that needs no restart: see HOT_KEYS. */
  readonly reconfigure: (config: RegistryConfig) => void;
};

/** All wiring of the registry process, in the order of the way of the data. */
export async function compose(
  config: RegistryConfig,
  logger: Logger,
  plugins: readonly Plugin[] = [],
): Promise<Composition> {
  const metrics = createMetrics();
  const health = createHealth();
  const pool = createBufferPool({ metrics });

  const replication = await composeReplicas(config, { logger, metrics });
  const { digestLock, together } = replication;
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

  const live = createLiveUpstreams({ settings: config, metrics, logger, health });
  const { client, targets, traffic, labelOf } = live;
  const pullMetrics = createPullThroughMetrics(metrics, labelOf);
  const tagPolicyOf = (registry: string, tag: string) => live.tagRuleOf(registry, tag);
  const share = replication.shareFetch({ metadata, blobs, client });
  const notStored = createNotStored({ metrics, logger, labelOf });
  const sourceDeps = { metadata, client, metrics: pullMetrics, notStored };
  const manifestSource = createManifestSource({ ...sourceDeps, storeManifest, tagPolicyOf, together });
  const blobSource = createBlobSource({ ...sourceDeps, blobs: guarded, digestLock, share });
  const readManifest = createManifestReader({
    ...{ metadata, documents, pulls, logger },
    source: manifestSource,
    metrics: pullMetrics,
  });
  const referrersSource = createReferrersSource({ ...sourceDeps, tagPolicyOf });
  const readReferrers = createReadReferrers({ metadata, source: referrersSource });
  const readBlob = createReadBlob({
    blobs,
    metadata,
    digestLock,
    source: blobSource,
    client,
    pulls,
    metrics: pullMetrics,
  });

  const snapshots = await createMetadataSnapshots({ config, blobs, logger, metrics, health });
  const uploads = createUploadSessions({
    blobs: guarded,
    metadata,
    digestLock,
    metrics,
    owner: replication.uploadOwners,
  });
  const leadership = replication.leadership(blobs);
  const reclaim = createReclaim({ blobs, metadata, digestLock, pulls, keepOrphans: snapshots.keepOrphans });
  const rules = {
    grace: config.gc.grace,
    untaggedLocal: config.gc.untagged.local === "keep" ? ("keep" as const) : config.gc.untagged.after,
    unusedFor: config.cache.unusedFor,
  };
  const collector = createCollector({
    metadata,
    reclaim,
    uploads,
    pulls,
    rules,
    leads: leadership.leads,
    uploadIdle: config.uploads.idle,
    logger,
    metrics,
  });
  const gate = createWarmUpGate({ hold: (registry) => traffic.hold(registry), client, metrics, logger });
  const { space, service: spaceService } = createSpaceKeeper({
    ...{ metadata, disk, blobs: blobSource, reclaim, pulls, rules, metrics, health, logger, leads: leadership.leads },
    maxSize: config.storage.maxSize,
  });
  const warmUp = createWarmUp({
    ...{ metadata, documents, gate, space, logger },
    manifests: manifestSource,
    blobs: blobSource,
  });
  const images = createImages({
    metadata,
    documents,
    blobs: blobSource,
    manifests: manifestSource,
    warmUp,
    defaultPlatforms: WARM_BY_DEFAULT,
  });
  const refetch = createRefetch({ metadata, manifests: manifestSource, blobs: blobSource });
  const heal = createHealBlob({
    ...{ blobs, metadata, digestLock, documents, refetch, logger },
    // May change while the process runs.
    get airGapped() {
      return live.airGapped;
    },
  });
  const scrub = createScrub({ blobs, metadata, heal, logger, metrics });

  const { listen, management } = config;
  const certificate = listen.tls && (await createCertificate({ ...listen.tls, name: "registry", logger, metrics }));
  const server = createServer({
    logger,
    name: "registry",
    metrics,
    accessLog: config.log.access,
    accessDetails,
    ...(certificate ? { certificate } : {}),
  });
  await registerPlugins(server, plugins);
  const deleteEnabled = config.delete.enabled;
  const resolveName = (path: string) => repositoryOf(targets.resolve({ path }));
  const mount = createMountBlob({ blobs, metadata, digestLock });
  const uploadDeps = { metadata, uploads, mount, resolveName };
  const peers = await replication.serve({ blobs: blobSource, uploads: uploadRoutes(uploadDeps), resolveName, pool });
  addRoutes({
    server,
    targets,
    authorizer: createAuthorizer({
      authenticators: authenticatorsOf(config.auth, logger),
      anonymousPull: config.auth.anonymousPull,
      anonymousPush: config.auth.anonymousPush ?? isLoopback(listen.host),
    }),
    routes: {
      manifest: manifestRoutes({
        metadata,
        readManifest,
        storeManifest,
        requireBlobs: config.push.requireBlobs,
        firstByte: (outcome, seconds) => pullMetrics.firstByte("manifest", outcome, seconds),
        deleteEnabled,
      }),
      blob: blobRoutes({
        metadata,
        readBlob,
        send: createBlobSender({ pool, metrics: pullMetrics, logger }),
        deleteEnabled,
        redirectUrl: redirectOf(config.storage.blobs.redirect, blobs),
      }),
      uploads: uploadsRoutes(uploadDeps),
      upload: peers.uploads,
      tags: tagRoutes({ metadata }),
      referrers: referrersRoutes({ readReferrers }),
      catalog: createCatalog({ metadata }),
    },
  });

  const managementServer = await openManagementServer(management, { health, metrics, logger });
  const startedAt = new Date();
  const token = management.tokenFile === undefined ? undefined : createSecretFile(management.tokenFile);
  addManagementRoutes(managementServer, {
    images,
    collector,
    metadata,
    token,
    startedAt: async () => (await replication.startedAt()) ?? startedAt,
    content: createImportContent({ blobs: guarded, metadata, digestLock, storeManifest }),
    scrub,
    scrubRate: config.scrub.rate,
  });

  const fullPass = createSchedule({
    name: "gc",
    expression: config.gc.schedule,
    task: async () => void (await (leadership.leads() ? collector.fullPass() : collector.purgeUploads())),
    logger,
    metrics,
  });
  const scrubSchedule = scheduledScrub(config, scrub, { leads: leadership.leads, logger, metrics });
  return {
    health,
    metrics,
    reconfigure: (next) => live.replace(next),
    services: [
      serverService({ name: "management", server: managementServer, listen: management }),
      ...snapshots.restore,
      { name: "reserve", start: () => releaseReserve(config.storage.blobs) },
      // First, as it refuses a second process on the same folder: the blob store's start removes temporary files.
      { name: "metadata store", start: (signal) => metadata.start(signal), stop: () => metadata.close() },
      ...replication.services,
      { name: "blob store", start: () => blobs.start(), stop: () => blobs.close() },
      ...snapshots.services,
      { name: "upstreams", stop: () => client.close() },
      { name: "access times", start: () => pulls.start(), stop: () => pulls.stop() },
      spaceService,
      { name: "collector", start: () => collector.start(), stop: () => collector.stop() },
      { name: "leadership", start: () => leadership.start(), stop: () => leadership.stop() },
      fullPass,
      { name: "scrub", stop: () => scrub.cancel() },
      ...scrubSchedule,
      { name: "warm-ups", stop: () => warmUp.stop() },
      ...peers.services,
      serverService({ name: "registry", server, listen }),
    ],
  };
}

/** Ends with the process; a scrub that was asked for is joined. */
function scheduledScrub(
  { scrub: { schedule, rate } }: RegistryConfig,
  scrub: Scrub,
  { leads, ...deps }: { leads: () => boolean; logger: Logger; metrics: Metrics },
): Service[] {
  if (schedule === undefined) return [];
  const task = async (signal: AbortSignal): Promise<void> => {
    if (!leads()) return;
    signal.addEventListener("abort", () => void scrub.cancel(), { once: true });
    scrub.start({ rate });
    const { state, error } = await scrub.finished();
    if (state === "failed") throw new Error(error);
  };
  return [createSchedule({ name: "scrub", expression: schedule, task, ...deps })];
}

async function releaseReserve({ driver, filesystem }: RegistryConfig["storage"]["blobs"]): Promise<void> {
  if (driver === "filesystem") await releaseReserveOfFullDisk(filesystem.path);
}

/** Nothing can be acknowledged without the metadata store: the process ends as on any uncaught error and starts anew. */
function endProcess(error: Error): void {
  queueMicrotask(() => {
    throw error;
  });
}
