import { messageOf } from "@cache-registry/core/errors";
import { awsDomain } from "@cache-registry/runtime/cloud/aws-region";
import type { Logger } from "@cache-registry/runtime/logger";
import type { AzureConfig } from "./azure/config.ts";
import type { AzureOptions } from "./azure.ts";
import type { BlobStore } from "./blob-store.ts";
import type { BlobStoreConfig } from "./config.ts";
import type { GcsConfig } from "./gcs/config.ts";
import type { GcsOptions } from "./gcs.ts";
import { prefixOf } from "./object-store/config.ts";
import type { Objects } from "./object-store/objects.ts";
import type { S3Config } from "./s3/config.ts";
import type { S3Options } from "./s3.ts";

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
    throw new Error(`${CANNOT_SIGN}: gcs.serviceAccountFile`);
  }
  return store;
}

const CANNOT_SIGN = "storage.blobs.redirect: presigned needs credentials that can sign";

function cannotSign(error: unknown): never {
  throw new Error(`${CANNOT_SIGN}: ${messageOf(error)}`, { cause: error });
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
      return openGcs(config, deps);
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
  return createS3BlobStore(await s3Options(config, deps));
}

async function openGcs({ gcs, redirect }: BlobStoreConfig, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createGcsBlobStore } = await import("./gcs.ts");
  const options = await gcsOptions(configured(gcs), deps);
  if (redirect === "presigned") await options.signer?.().catch(cannotSign);
  return createGcsBlobStore(options);
}

async function openAzure(config: AzureConfig, deps: OpenBlobStoreDeps): Promise<BlobStore> {
  const { createAzureBlobStore } = await import("./azure.ts");
  return createAzureBlobStore(await azureOptions(config, deps));
}

async function s3Options(config: S3Config, deps: OpenBlobStoreDeps): Promise<S3Options> {
  const { createCredentials } = await import("./s3/credentials.ts");
  const { bucket, region, endpoint, pathStyle } = config;
  return {
    ...shared(config, deps),
    location: {
      bucket,
      region,
      endpoint: endpoint ?? `https://s3.${region}.${awsDomain(region)}`,
      pathStyle: pathStyle ?? endpoint !== undefined,
    },
    ...createCredentials(config, { env: deps.env ?? process.env, logger: deps.logger }),
  };
}

async function gcsOptions(config: GcsConfig, deps: OpenBlobStoreDeps): Promise<GcsOptions> {
  const { createCredentials } = await import("./gcs/credentials.ts");
  const { bucket, endpoint } = config;
  return {
    ...shared(config, deps),
    location: { bucket, endpoint },
    ...createCredentials(config, deps.env ?? process.env),
  };
}

async function azureOptions(config: AzureConfig, deps: OpenBlobStoreDeps): Promise<AzureOptions> {
  const { createCredentials } = await import("./azure/credentials.ts");
  const { account, container, endpoint = `https://${account}.blob.core.windows.net` } = config;
  return {
    ...shared(config, deps),
    location: { account, container, endpoint },
    credentials: createCredentials(config, deps.env ?? process.env),
  };
}

/** The bare objects, for what is kept beside the blobs; undefined when the driver is no object store. */
export async function openObjects(
  config: BlobStoreConfig,
  deps: OpenBlobStoreDeps = {},
): Promise<{ readonly objects: Objects; readonly prefix: string } | undefined> {
  switch (config.driver) {
    case "s3": {
      const { createS3Objects } = await import("./s3.ts");
      const options = await s3Options(configured(config.s3), deps);
      return { objects: createS3Objects(options), prefix: options.prefix };
    }
    case "gcs": {
      const { createGcsObjects } = await import("./gcs.ts");
      const options = await gcsOptions(configured(config.gcs), deps);
      return { objects: createGcsObjects(options), prefix: options.prefix };
    }
    case "azure": {
      const { createAzureObjects } = await import("./azure.ts");
      const options = await azureOptions(configured(config.azure), deps);
      return { objects: createAzureObjects(options), prefix: options.prefix };
    }
    default:
      return undefined;
  }
}
