import { randomBytes } from "node:crypto";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, hexOf } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import type { Logger } from "@cache-registry/runtime/logger";
import { BlobMissingError, type BlobStore, type Confirm } from "./blob-store.ts";
import { createPlainKeys, createUniqueKeys } from "./object-keys.ts";
import { createS3Client, type S3Client, type S3Location } from "./s3/client.ts";
import { createDoubtfulRemovals } from "./s3/doubtful-removals.ts";
import { isNoSuchKey, isTransient, storeError } from "./s3/errors.ts";
import { abandonedUploads, keysBelow } from "./s3/listing.ts";
import { openObjectReader } from "./s3/reader.ts";
import { abortUpload, sizeOf } from "./s3/upload.ts";
import { createSpooledWriter } from "./s3/writer.ts";
import { createSpool, type Spooled } from "./spool.ts";

export type S3Options = {
  readonly location: S3Location;
  /** Before every key: empty, or ending in a slash. */
  readonly prefix: string;
  readonly credentials: () => Promise<AwsCredentials>;
  /** Many replicas share the bucket. */
  readonly shared?: boolean | undefined;
  /** Local folder for bytes on their way. */
  readonly spool: string;
  /** Blobs larger than this are sent in parts of this size, in bytes. S3 takes no less than 5 MiB. */
  readonly partBytes?: number;
  readonly logger?: Logger | undefined;
  readonly now?: () => number;
};

/** Amazon's limit for copying an object in one request. */
const MAX_COPY_BYTES = 5 * 2 ** 30;
/** What other replicas are sending now is not abandoned. Milliseconds. */
const ABANDONED_AFTER_MS = 24 * 3_600_000;
const PART_BYTES = 16 * 2 ** 20;
/** A client follows a redirect at once; resuming a large blob it asks the registry again. */
const REDIRECT_SECONDS = 20 * 60;

/**
 * Driver on an S3-compatible object store: bytes on their way are in a local folder. For one process, objects are called
 * `<prefix>blobs/<algorithm>/<hex>` (docs/adr/0011); with `shared`, every commit has a key of its own (docs/adr/0018).
 * Errors: `CodedError` UNAVAILABLE while the store cannot be reached, INSUFFICIENT_STORAGE when it or the local disk is full.
 */
export function createS3BlobStore(options: S3Options): BlobStore {
  const { location, prefix, credentials, partBytes = PART_BYTES, logger } = options;
  const client = createS3Client({ location, credentials, logger });
  const spool = createSpool(options.spool);
  const folder = `${prefix}blobs/`;
  const keys = options.shared ? createUniqueKeys(folder, (below) => keysBelow(client, below)) : createPlainKeys(folder);
  const removals = createDoubtfulRemovals(options.now);
  const writer = (spooled: Spooled) =>
    createSpooledWriter({
      client,
      keyOf: (digest) => keys.create(digest),
      partBytes,
      // A key of its own is met by no old removal.
      check: (digest) => options.shared || removals.check(digest),
      ...spooled,
    });

  /** Undefined when there is no object, also not under another key than the one that is remembered. */
  async function withObject<Result>(
    digest: Digest,
    use: (key: string) => Promise<Result | undefined>,
  ): Promise<Result | undefined> {
    const key = await keys.find(digest);
    const found = key === undefined ? undefined : await use(key);
    if (found !== undefined || !options.shared) return found;
    const other = await keys.find(digest, true);
    return other === undefined || other === key ? undefined : use(other);
  }

  async function* list(): AsyncGenerator<Digest> {
    for (const algorithm of DIGEST_ALGORITHMS) {
      for await (const key of keysBelow(client, `${folder}${algorithm}/`)) {
        const digest = keys.digestOf(key);
        if (digest !== undefined) yield digest;
      }
    }
  }

  async function removeObject(digest: Digest, key: string): Promise<void> {
    try {
      const onDoubt = (failure: unknown) => removals.add(digest, failure);
      await client.text({ method: "DELETE", key, onDoubt });
    } catch (error) {
      if (!isNoSuchKey(error)) throw storeError(error);
    }
  }

  /** S3 knows no renaming. What cannot be copied in one request (above 5 GiB) is removed without a copy. */
  async function setAside(digest: Digest, confirm: Confirm | undefined): Promise<void> {
    const object = await withObject(digest, async (key) => {
      const size = await sizeOf(client, key);
      return size === undefined ? undefined : { key, size };
    });
    if (!object) return;
    await confirm?.();
    const { key, size } = object;
    const aside = `${prefix}quarantine/${algorithmOf(digest)}-${hexOf(digest)}.${randomBytes(4).toString("hex")}`;
    if (size <= MAX_COPY_BYTES) await client.copy(key, aside);
    else logger?.warn({ digest, size }, "damaged content is too large for a copy: it is removed");
    await removeObject(digest, key);
  }

  async function removeAll(digest: Digest, doomed: readonly string[], confirm: Confirm | undefined): Promise<void> {
    await confirm?.();
    for (const key of doomed) await removeObject(digest, key);
  }

  return {
    async start() {
      await spool.start();
      await greet({ client, folder, logger, abandonedFor: options.shared ? ABANDONED_AFTER_MS : 0 });
    },
    async close() {
      client.close();
    },
    async stat(digest) {
      const size = await withObject(digest, (key) => sizeOf(client, key)).catch(fail);
      return size === undefined ? undefined : { size };
    },
    async open(digest, range) {
      const reader = await withObject(digest, (key) =>
        openObjectReader({ client, key, digest, range }).catch((error: unknown) => {
          if (error instanceof BlobMissingError) return undefined;
          throw error;
        }),
      ).catch(fail);
      if (!reader) throw new BlobMissingError(digest);
      return reader;
    },
    async redirectUrl(digest) {
      const key = await keys.find(digest).catch(fail);
      if (key === undefined) throw new BlobMissingError(digest);
      return client.presign(key, REDIRECT_SECONDS);
    },
    create: async () => writer(await spool.create()),
    openUpload: async (id) => writer(await spool.openUpload(id)),
    removeUpload: (id) => spool.removeUpload(id),
    remove: async (digest, _generation, confirm) => removeAll(digest, await keys.all(digest).catch(fail), confirm),
    async removeCopies(digest, confirm) {
      const copies = (await keys.all(digest).catch(fail)).slice(0, -1);
      await removeAll(digest, copies, confirm);
      return copies.length;
    },
    quarantine: (digest, confirm) => setAside(digest, confirm).catch(fail),
    list,
    listUploads: () => spool.listUploads(),
  };
}

function fail(error: unknown): never {
  throw storeError(error);
}

/**
 * Finds out at the start what can be wrong with names and rights. A store that is out of reach is none of that: what is in
 * memory is served, the rest answers 503, and all is well again when the store is.
 */
async function greet(deps: {
  client: S3Client;
  folder: string;
  logger: Logger | undefined;
  abandonedFor: number;
}): Promise<void> {
  const { client, folder, logger, abandonedFor } = deps;
  try {
    await client.text({ method: "GET", key: "", query: { "list-type": "2", "max-keys": "1", prefix: folder } });
  } catch (error) {
    if (!isTransient(error)) throw new Error(`storage.blobs.s3: ${messageOf(error)}`, { cause: error });
    logger?.warn({ err: error }, "the object store is out of reach; starting without it");
    return;
  }
  // Parts of uploads that a killed process left cost money and are in no list of objects.
  try {
    for await (const { key, uploadId, initiatedAt } of abandonedUploads(client, folder)) {
      if (initiatedAt <= Date.now() - abandonedFor) await abortUpload(client, key, uploadId);
    }
  } catch (error) {
    logger?.warn({ err: error }, "abandoned multipart uploads are left to the next start");
  }
}
