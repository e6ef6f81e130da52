import { createHealth, type Health } from "@cache-registry/runtime/health";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { createMetrics, type Metrics } from "@cache-registry/runtime/metrics";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { composeHousekeeping } from "./compose/housekeeping.ts";
import { composeReading } from "./compose/reading.ts";
import { composeServer } from "./compose/registry-server.ts";
import { composeStores } from "./compose/stores.ts";
import type { RegistryConfig } from "./config.ts";
import { addManagementRoutes } from "./management/routes.ts";
import { openManagementServer } from "./management/server.ts";
import type { Plugin } from "./plugins.ts";
import { createImportContent } from "./transfer/import-content.ts";

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
  const process = { logger, metrics, health };

  const stores = await composeStores(config, process);
  const reading = composeReading(config, stores, process);
  const { uploads, images, collector, scrub, services } = await composeHousekeeping(
    config,
    { stores, reading },
    process,
  );
  const servers = await composeServer(config, { stores, reading, uploads, plugins }, process);

  const { management } = config;
  const managementServer = await openManagementServer(management, process);
  const { guarded, metadata, digestLock, storeManifest, replication } = stores;
  const startedAt = new Date();
  addManagementRoutes(managementServer, {
    ...{ images, collector, metadata, scrub },
    token: management.tokenFile === undefined ? undefined : createSecretFile(management.tokenFile),
    startedAt: async () => (await replication.startedAt()) ?? startedAt,
    content: createImportContent({ blobs: guarded, metadata, digestLock, storeManifest }),
    scrubRate: config.scrub.rate,
  });
  return {
    health,
    metrics,
    reconfigure: (next) => reading.live.replace(next),
    services: [
      serverService({ name: "management", server: managementServer, listen: management }),
      ...services,
      ...servers,
    ],
  };
}
