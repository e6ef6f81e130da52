import { isRepositoryName } from "@cache-registry/core/repository-name";
import { type CommandOptions, EXIT_INTERRUPTED, interruption, say } from "@cache-registry/runtime/command";
import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { createLogger, type Logger } from "@cache-registry/runtime/logger";
import { lockDatabase } from "@cache-registry/storage/metadata-store/sqlite-file";
import { openSnapshotStore } from "@cache-registry/storage/snapshots/open";
import {
  clearRestored,
  hasDatabase,
  markRestored,
  moveAside,
  restoreSnapshot,
} from "@cache-registry/storage/snapshots/restore";
import { databaseProblem } from "@cache-registry/storage/snapshots/snapshot-file";
import { isSnapshotName, type SnapshotName } from "@cache-registry/storage/snapshots/snapshot-store";
import { RegistryConfig } from "../config.ts";
import { assertFilesReadable } from "../config-files.ts";
import { createStoreManifest } from "../content/store-manifest.ts";
import { openMaintenanceStores } from "./maintenance-stores.ts";
import { createProgressLine } from "./progress-line.ts";
import { type ReconcileReport, reconcile } from "./reconcile.ts";

/** Exit code beside 0, 1 and that of an interruption: something that was pushed is lost. */
const EXIT_LOST = 4;

/**
 * `cache-registry rebuild`: a usable database again, the present one if it is in good order, else the newest good snapshot,
 * else a new one; then metadata and bytes are made to agree. Refuses while a registry has the store. Sets the exit code.
 * @throws ConfigError
 */
export async function runRebuild({ file, env, values = {} }: CommandOptions): Promise<void> {
  const config = loadConfig({ schema: RegistryConfig, file, env });
  assertFilesReadable(config);
  const { snapshot, repository } = optionsOf(values);
  if (config.storage.metadata.driver !== "sqlite") {
    throw new Error("rebuild is for SQLite: other databases have backups of their own");
  }
  const logger = createLogger({ component: "rebuild", level: "error" });
  const { path } = config.storage.metadata.sqlite;
  // Nobody starts on a database that is being replaced.
  const held = lockDatabase({ path, lockTimeout: 1_000 });
  try {
    await provideDatabase(config, { path, snapshot, logger });
  } finally {
    held.close();
  }
  const report = await reconcileStores(config, repository, logger);
  if (report) printReport(report, repository);
  process.exitCode = report ? (report.lost.length > 0 ? EXIT_LOST : 0) : EXIT_INTERRUPTED;
}

function optionsOf(values: NonNullable<CommandOptions["values"]>): {
  snapshot: SnapshotName | undefined;
  repository: string | undefined;
} {
  const { snapshot, repository = "recovered" } = values;
  const problems: string[] = [];
  const name = typeof snapshot === "string" && isSnapshotName(snapshot) ? snapshot : undefined;
  if (snapshot !== undefined && name === undefined) problems.push("--snapshot: expected the name of a snapshot file");
  if (typeof repository !== "string" || !isRepositoryName(repository) || /^[^/]*[.:]/.test(repository)) {
    problems.push("--repository: expected the name of a local repository");
  }
  if (problems.length > 0) throw new ConfigError(problems, "the command line");
  return { snapshot: name, repository: values.discard === true ? undefined : String(repository) };
}

async function provideDatabase(
  config: RegistryConfig,
  { path, snapshot, logger }: { path: string; snapshot: SnapshotName | undefined; logger: Logger },
): Promise<void> {
  const problem = (await hasDatabase(path)) ? databaseProblem(path) : "it is not there";
  if (problem === undefined && snapshot === undefined) {
    say(`${path} is in good order: it is kept (to go back to a snapshot, name it with --snapshot)`);
    return;
  }
  say(problem === undefined ? `${path} gives way to the snapshot` : `${path}: ${problem}`);
  const aside = `.${new Date().toISOString().replace(/[-:.]/g, "")}.old`;
  const store = await openSnapshotStore(config.storage.blobs, { logger });
  try {
    const { restored, refused } = store
      ? await restoreSnapshot(store, path, { only: snapshot, aside })
      : { restored: undefined, refused: [] };
    for (const { name, reason } of refused) say(`snapshot ${name} is not usable: ${reason}`);
    if (restored) {
      say(`restored from the snapshot ${restored.name}`);
    } else if (snapshot !== undefined) {
      throw new Error(`the snapshot ${snapshot} could not be used; nothing was changed`);
    } else {
      await markRestored(path);
      await moveAside(path, aside);
      say("there is no usable snapshot: tags, owners and pins cannot be had back, nor which repository held what");
    }
  } finally {
    store?.close();
  }
}

/** Undefined when it was interrupted. */
async function reconcileStores(
  config: RegistryConfig,
  repository: string | undefined,
  logger: Logger,
): Promise<ReconcileReport | undefined> {
  const stores = await openMaintenanceStores(config, logger);
  const signal = interruption();
  const line = createProgressLine();
  try {
    const onProgress = (done: number, what: string): void => line.show(`${done} ${what} compared`);
    const report = await reconcile({
      ...stores,
      storeManifest: createStoreManifest(stores),
      repository,
      signal,
      onProgress,
    });
    await clearRestored(config.storage.metadata.sqlite.path);
    return report;
  } catch (error) {
    if (!signal.aborted) throw error;
    say("interrupted: run it again, it begins where things stand");
    return undefined;
  } finally {
    line.end();
    await stores.close();
  }
}

function printReport({ forgotten, lost, recovered, unknown }: ReconcileReport, repository: string | undefined): void {
  for (const { digest, images } of lost)
    say(`LOST ${digest}: its bytes are gone; push it again (${images.join(", ")})`);
  for (const { digest, mediaType, title } of recovered) {
    say(`recovered ${repository}@${digest} (${title ?? mediaType})`);
  }
  say(`rows without bytes, forgotten: ${forgotten}, of which pushed: ${lost.length}`);
  if (repository !== undefined) {
    say(`manifests that no row knew, now in ${repository} by their digest: ${recovered.length}`);
  }
  say(`blobs that nothing refers to, left to the collector: ${unknown}`);
}
