import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore } from "./blob-store.ts";
import type { BlobStoreConfig, S3Config } from "./config.ts";

export type OpenBlobStoreDeps = {
  readonly logger?: Logger;
  /** Many replicas share the store: the id of this one. */
  readonly replica?: string | undefined;
  /** Usually process.env: credentials that are in no file. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/** The configured driver, not started. Imports only that driver. @throws Error when its credentials are missing */
export async function openBlobStore(config: BlobStoreConfig, deps: OpenBlobStoreDeps = {}): Promise<BlobStore> {
  switch (config.driver) {
    case "filesystem": {
      const { createFilesystemBlobStore } = await import("./filesystem.ts");
      return createFilesystemBlobStore({ path: config.filesystem.path, replica: deps.replica });
    }
    case "memory": {
      const { createMemoryBlobStore } = await import("./memory.ts");
      return createMemoryBlobStore();
    }
    case "s3": {
      if (!config.s3) throw new Error("storage.blobs.s3 is not configured");
      return openS3(config.s3, deps);
    }
  }
}

async function openS3(config: S3Config, { logger, replica, env = process.env }: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createS3BlobStore } = await import("./s3.ts");
  const { createCredentials } = await import("./s3/credentials.ts");
  const { bucket, region, endpoint, prefix, pathStyle, spool } = config;
  return createS3BlobStore({
    location: {
      bucket,
      region,
      endpoint: endpoint ?? `https://s3.${region}.amazonaws.com`,
      pathStyle: pathStyle ?? endpoint !== undefined,
    },
    prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`,
    credentials: createCredentials(config, env),
    shared: replica !== undefined,
    spool,
    logger,
  });
}
