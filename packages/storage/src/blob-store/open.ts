import type { Logger } from "@cache-registry/runtime/logger";
import type { AzureConfig } from "./azure/config.ts";
import type { BlobStore } from "./blob-store.ts";
import type { BlobStoreConfig } from "./config.ts";
import type { GcsConfig } from "./gcs/config.ts";
import { prefixOf } from "./object-store/config.ts";
import type { S3Config } from "./s3/config.ts";

export type OpenBlobStoreDeps = {
  readonly logger?: Logger;
  /** Many replicas share the store: the id of this one. */
  readonly replica?: string | undefined;
  /** Usually process.env: credentials that are in no file. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/** The configured driver, not started. Imports only that driver. @throws Error when its credentials are missing */
export async function openBlobStore(config: BlobStoreConfig, deps: OpenBlobStoreDeps = {}): Promise<BlobStore> {
  const store = await openDriver(config, deps);
  if (config.redirect === "presigned" && !store.redirectUrl) {
    throw new Error(`storage.blobs.redirect: presigned needs credentials that can sign: gcs.serviceAccountFile`);
  }
  return store;
}

async function openDriver(config: BlobStoreConfig, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  switch (config.driver) {
    case "filesystem": {
      const { createFilesystemBlobStore } = await import("./filesystem.ts");
      return createFilesystemBlobStore({ path: config.filesystem.path, replica: deps.replica });
    }
    case "memory": {
      const { createMemoryBlobStore } = await import("./memory.ts");
      return createMemoryBlobStore();
    }
    case "s3":
      return openS3(configured(config.s3), deps);
    case "gcs":
      return openGcs(configured(config.gcs), deps);
    case "azure":
      return openAzure(configured(config.azure), deps);
  }
}

/** The schema has seen to it. */
function configured<Config>(config: Config | undefined): Config {
  if (config === undefined) throw new Error("storage.blobs: the driver is not configured");
  return config;
}

function shared({ prefix, spool }: { prefix: string; spool: string }, { logger, replica }: OpenBlobStoreDeps) {
  return { prefix: prefixOf(prefix), spool, logger, shared: replica !== undefined };
}

async function openS3(config: S3Config, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createS3BlobStore } = await import("./s3.ts");
  const { createCredentials } = await import("./s3/credentials.ts");
  const { bucket, region, endpoint, pathStyle } = config;
  return createS3BlobStore({
    ...shared(config, deps),
    location: {
      bucket,
      region,
      endpoint: endpoint ?? `https://s3.${region}.amazonaws.com`,
      pathStyle: pathStyle ?? endpoint !== undefined,
    },
    credentials: createCredentials(config, deps.env ?? process.env),
  });
}

async function openGcs(config: GcsConfig, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createGcsBlobStore } = await import("./gcs.ts");
  const { createCredentials } = await import("./gcs/credentials.ts");
  const { bucket, endpoint } = config;
  return createGcsBlobStore({
    ...shared(config, deps),
    location: { bucket, endpoint },
    ...createCredentials(config, deps.env ?? process.env),
  });
}

async function openAzure(config: AzureConfig, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createAzureBlobStore } = await import("./azure.ts");
  const { createCredentials } = await import("./azure/credentials.ts");
  const { account, container, endpoint = `https://${account}.blob.core.windows.net` } = config;
  return createAzureBlobStore({
    ...shared(config, deps),
    location: { account, container, endpoint },
    credentials: createCredentials(config, deps.env ?? process.env),
  });
}
