import type { Service } from "@cache-registry/runtime/lifecycle";
import { createSchedule } from "@cache-registry/runtime/schedule";
import { releaseReserveOfFullDisk } from "@cache-registry/storage/blob-store/filesystem-volume";
import type { RegistryConfig } from "../config.ts";
import { createCollector } from "../gc/collector.ts";
import { createReclaim } from "../gc/reclaim.ts";
import { createHealBlob } from "../maintenance/heal-blob.ts";
import { createMetadataSnapshots } from "../maintenance/metadata-snapshots.ts";
import { createRefetch } from "../maintenance/refetch.ts";
import { createScrub, type Scrub } from "../maintenance/scrub.ts";
import { createImages } from "../management/images.ts";
import { createWarmUp } from "../management/warm-up.ts";
import { createWarmUpGate } from "../management/warm-up-gate.ts";
import { createUploadSessions } from "../push/upload-sessions.ts";
import { createSpaceKeeper } from "../space/space-keeper.ts";
import type { Reading } from "./reading.ts";
import type { Process, Stores } from "./stores.ts";

const WARM_BY_DEFAULT = [`linux/${process.arch === "x64" ? "amd64" : process.arch}`];

type Parts = { readonly stores: Stores; readonly reading: Reading };

/** What goes on without a client: warm-ups, collection, eviction, snapshots, scrub; and the upload sessions, which it ends. */
export async function composeHousekeeping(config: RegistryConfig, { stores, reading }: Parts, process: Process) {
  const { replication, digestLock, blobs, guarded, disk, metadata, documents, pulls } = stores;
  const { logger, metrics, health } = process;
  const { live, lent, sources, tagPolicyOf } = reading;
  const { client } = live;
  const { manifests } = sources;

  const snapshots = await createMetadataSnapshots({ config, blobs, logger, metrics, health });
  const owner = replication.uploadOwners;
  const uploads = createUploadSessions({ blobs: guarded, metadata, digestLock, metrics, owner });
  const leadership = replication.leadership(blobs);
  const { leads } = leadership;

  const reclaim = createReclaim({ blobs, metadata, digestLock, pulls, keepOrphans: snapshots.keepOrphans });
  const rules = {
    grace: config.gc.grace,
    untaggedLocal: config.gc.untagged.local === "keep" ? ("keep" as const) : config.gc.untagged.after,
    unusedFor: config.cache.unusedFor,
  };
  const uploadIdle = config.uploads.idle;
  const collector = createCollector({ metadata, reclaim, uploads, pulls, rules, leads, uploadIdle, logger, metrics });
  const { space, service: spaceService } = createSpaceKeeper({
    ...{ metadata, disk, blobs: sources.blobs, reclaim, pulls, rules, metrics, health, logger, leads },
    maxSize: config.storage.maxSize,
  });

  const gate = createWarmUpGate({ hold: (registry) => live.traffic.hold(registry), client, metrics, logger });
  const content = { metadata, documents, manifests, blobs: sources.blobs };
  const warmUp = createWarmUp({ ...content, gate, space, warming: replication.warming, logger });
  const images = createImages({
    ...content,
    lent,
    warmUp,
    tagPolicyOf,
    warming: replication.warming,
    defaultPlatforms: WARM_BY_DEFAULT,
  });
  const heal = createHealBlob({
    ...{ blobs, metadata, digestLock, documents, logger },
    refetch: createRefetch({ metadata, manifests, blobs: sources.blobs }),
    // May change while the process runs.
    get airGapped() {
      return live.airGapped;
    },
  });
  const scrub = createScrub({ blobs, metadata, heal, logger, metrics });

  const fullPass = createSchedule({
    name: "gc",
    expression: config.gc.schedule,
    task: async () => void (await (leads() ? collector.fullPass() : collector.purgeUploads())),
    logger,
    metrics,
  });
  return {
    uploads,
    collector,
    images,
    scrub,
    /** From the first to listen to the last to stop, without the servers of clients. */
    services: [
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
      // Stopped after the collector, which ends a pass that is under way: a full one may take longer than a shutdown.
      fullPass,
      { name: "collector", start: () => collector.start(), stop: () => collector.stop() },
      { name: "leadership", start: () => leadership.start(), stop: () => leadership.stop() },
      { name: "scrub", stop: () => scrub.cancel() },
      ...scheduledScrub(config, { scrub, leads }, process),
      { name: "warm-ups", stop: () => warmUp.stop() },
    ] satisfies Service[],
  };
}

/** Ends with the process; a scrub that was asked for is joined. */
function scheduledScrub(
  { scrub: { schedule, rate } }: RegistryConfig,
  { scrub, leads }: { scrub: Scrub; leads: () => boolean },
  { logger, metrics }: Process,
): Service[] {
  if (schedule === undefined) return [];
  const task = async (signal: AbortSignal): Promise<void> => {
    if (!leads()) return;
    signal.addEventListener("abort", () => void scrub.cancel(), { once: true });
    scrub.start({ rate });
    const { state, error } = await scrub.finished();
    if (state === "failed") throw new Error(error);
  };
  return [createSchedule({ name: "scrub", expression: schedule, task, logger, metrics })];
}

async function releaseReserve({ driver, filesystem }: RegistryConfig["storage"]["blobs"]): Promise<void> {
  if (driver === "filesystem") await releaseReserveOfFullDisk(filesystem.path);
}
