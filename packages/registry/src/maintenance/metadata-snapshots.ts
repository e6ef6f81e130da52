import { messageOf } from "@cache-registry/core/errors";
import type { Health } from "@cache-registry/runtime/health";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createSchedule } from "@cache-registry/runtime/schedule";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { lockDatabase } from "@cache-registry/storage/metadata-store/sqlite-file";
import { openSnapshotStore } from "@cache-registry/storage/snapshots/open";
import {
  hasDatabase,
  isNew,
  isRestored,
  markNew,
  restoreSnapshot,
  settleNew,
} from "@cache-registry/storage/snapshots/restore";
import type { SnapshotStore } from "@cache-registry/storage/snapshots/snapshot-store";
import { createSnapshotter, type Snapshotter } from "@cache-registry/storage/snapshots/snapshotter";
import type { RegistryConfig } from "../config.ts";

/** Copies of the SQLite database beside the blobs: taken while the registry runs, and given back when the database is lost. */
export type MetadataSnapshots = {
  /** Before the metadata store starts. */
  readonly restore: readonly Service[];
  /** When both stores have started. */
  readonly services: readonly Service[];
  /** Bytes that no row knows may be newer than the metadata: nothing of them is to be removed before `rebuild`. */
  readonly keepOrphans: () => Promise<boolean>;
};

export type MetadataSnapshotsDeps = {
  readonly config: RegistryConfig;
  readonly blobs: BlobStore;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
};

/** A snapshot that took longer is not taken again while the process is being stopped. Milliseconds. */
const QUICK_MS = 8_000;
/** Between two snapshots: so many times as long as the last one took. A large database is copied less often. */
const REST = 100;

const ADVICE = "content that no row knows is kept until `cache-registry rebuild` has looked at it";

export async function createMetadataSnapshots(deps: MetadataSnapshotsDeps): Promise<MetadataSnapshots> {
  const { config, blobs, logger, metrics, health } = deps;
  const { metadata, snapshots } = config.storage;
  if (metadata.driver !== "sqlite") return { restore: [], services: [], keepOrphans: async () => false };
  const { path } = metadata.sqlite;
  const store = snapshots.enabled ? await openSnapshotStore(config.storage.blobs, { logger }) : undefined;
  const takenAt = metrics.gauge({
    name: "metadata_snapshot_seconds",
    help: "Unix time of the newest metadata snapshot",
  });

  async function restore(): Promise<void> {
    if (await hasDatabase(path)) return;
    const { restored, refused } = store ? await findAndRestore(store, path) : { restored: undefined, refused: [] };
    for (const { name, reason } of refused)
      logger.error({ snapshot: name, reason }, "a metadata snapshot is not usable");
    // A process that ends before it has looked around must not leave a database that passes for an old one.
    if (!restored) return markNew(path);
    logger.warn({ snapshot: restored.name }, `the database was not there: restored from a snapshot; ${ADVICE}`);
  }

  /** A new database beside blobs: what was lost is the database. */
  async function lookAround(): Promise<void> {
    health.addCheck({
      name: "metadata",
      warnOnly: true,
      check: async () => ((await isRestored(path)) ? `restored or new beside older content: ${ADVICE}` : undefined),
    });
    if (!(await isNew(path))) return;
    const older = await holdsAnything(blobs);
    await settleNew(path, { older });
    if (older) logger.warn(`the database is new and the blob store is not empty; ${ADVICE}`);
  }

  let snapshotter: Snapshotter | undefined;
  let took = 0;
  let restUntil = 0;
  async function take(): Promise<void> {
    const began = performance.now();
    const name = await snapshotter?.take();
    took = performance.now() - began;
    restUntil = began + took * (1 + REST);
    if (name === undefined) return;
    takenAt.set(Date.now() / 1000);
    logger.info({ snapshot: name, milliseconds: Math.round(took) }, "metadata snapshot taken");
  }

  async function takeScheduled(): Promise<void> {
    if (performance.now() >= restUntil) await take();
  }

  const services: Service[] = [{ name: "look at the blob store", start: lookAround }];
  if (store) {
    services.push(
      {
        name: "metadata snapshots",
        start() {
          snapshotter = createSnapshotter({ path, store, keep: snapshots.keep });
        },
        async stop() {
          if (took < QUICK_MS) {
            await take().catch((err: unknown) => logger.error({ err }, "the last metadata snapshot failed"));
          }
          snapshotter?.close();
          store.close();
        },
      },
      createSchedule({ name: "snapshots", expression: snapshots.schedule, task: takeScheduled, logger, metrics }),
    );
  }
  return { restore: [{ name: "metadata restore", start: restore }], services, keepOrphans: () => isRestored(path) };
}

async function findAndRestore(store: SnapshotStore, path: string): ReturnType<typeof restoreSnapshot> {
  // Nobody makes a new one meanwhile.
  const held = lockDatabase({ path, lockTimeout: 3_000 });
  try {
    return await restoreSnapshot(store, path, { aside: `.${Date.now()}.old` });
  } catch (error) {
    const message = `${path} is not there, and nobody can say now whether there is a snapshot of it: ${messageOf(error)}`;
    throw new Error(message, { cause: error });
  } finally {
    held.close();
  }
}

async function holdsAnything(blobs: BlobStore): Promise<boolean> {
  // Out of reach: then nothing will be removed from it now either.
  try {
    for await (const _ of blobs.list()) return true;
  } catch {
    return true;
  }
  return false;
}
