import type { Logger } from "@cache-registry/runtime/logger";
import type { MetadataStore } from "./metadata-store.ts";
import { type ConnectionSource, readConnectionConfig } from "./postgres/connection-url.ts";
import { createDatabase, type Database } from "./postgres/database.ts";
import { createKnowingWrites, createKnownReads, knowLink } from "./postgres/known-reads.ts";
import { createKnownRows } from "./postgres/known-rows.ts";
import { openLink } from "./postgres/link.ts";
import { createReads } from "./postgres/reads.ts";
import { untilMigrated } from "./postgres/start.ts";
import { createWrites } from "./postgres-writes/operations.ts";

export type PostgresOptions = ConnectionSource & {
  /** Most connections of this process at the same time. */
  readonly connections: number;
  /**
   * `gc.grace` in milliseconds: events are queued for review that much later. Without it they are due at once, and the
   * first review postpones them.
   */
  readonly grace?: number;
  readonly logger?: Logger;
  /** After how many milliseconds without an answer a connection is taken for cut; shorter for tests. */
  readonly silence?: number;
};

/**
 * Driver on PostgreSQL, for any number of processes. `start` waits for the database as long as it takes. While it cannot
 * be reached, rows that were read lately are still told, and every other call fails within a second with UNAVAILABLE; a
 * write that failed so may have happened and may be repeated.
 */
export function createPostgresMetadataStore(options: PostgresOptions): MetadataStore {
  const { connections, grace = 0, logger, silence } = options;
  const known = createKnownRows();
  let opened: Database | undefined;

  function database(): Database {
    if (!opened) throw new Error("the metadata store is not open");
    return opened;
  }
  const open = async (link: Omit<Parameters<typeof openLink>[0], "config">) =>
    openLink({
      ...link,
      config: await readConnectionConfig(options),
      ...(silence === undefined ? {} : { silence }),
    });

  const reads = createReads({ read: async (work) => database().read(work) });
  const writes = createWrites({
    grace,
    onLinked: (repository, blob) => knowLink(known, repository, blob),
    transaction: async (work) => database().transaction(work),
    statement: async (work) => database().statement(work),
  });

  return {
    async start(signal) {
      if (opened) return;
      await untilMigrated({ open, signal, logger });
      opened = createDatabase({ open, connections, logger });
    },
    async close() {
      const closing = opened;
      opened = undefined;
      await closing?.close();
    },
    ...reads,
    ...createKnownReads(reads, known),
    ...writes,
    ...createKnowingWrites(writes, known),
  };
}
