import type { Logger } from "@cache-registry/runtime/logger";
import type { MetadataStoreConfig } from "./config.ts";
import type { MetadataStore } from "./metadata-store.ts";

export type OpenOptions = {
  /** `gc.grace` in milliseconds: how much later than its event a review is due. Without it: at once, then postponed. */
  readonly grace?: number;
  /** Reports that the store broke. */
  readonly logger?: Logger;
  /** The store broke and cannot write any more: the process should end and be started anew. */
  readonly onFatal?: (error: Error) => void;
};

/** The configured driver, not started. Imports only that driver. */
export async function openMetadataStore(
  config: MetadataStoreConfig,
  options: OpenOptions = {},
): Promise<MetadataStore> {
  const { logger, onFatal, ...rest } = options;
  const fail = (err: Error): void => {
    logger?.fatal({ err }, "the metadata store broke: nothing can be written until a restart");
    onFatal?.(err);
  };
  switch (config.driver) {
    case "sqlite": {
      const { createSqliteMetadataStore } = await import("./sqlite.ts");
      return createSqliteMetadataStore({ path: config.sqlite.path, ...rest, onFatal: fail });
    }
    case "postgres": {
      const { createPostgresMetadataStore } = await import("./postgres.ts");
      const { url, urlFile, caFile, connections = 2 } = config.postgres ?? {};
      return createPostgresMetadataStore({
        connections,
        ...(url ? { url } : {}),
        ...(urlFile === undefined ? {} : { urlFile }),
        ...(caFile === undefined ? {} : { caFile }),
        ...(logger ? { logger } : {}),
        ...rest,
      });
    }
  }
}
