import { randomBytes } from "node:crypto";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, hexOf, isDigest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore } from "./blob-store.ts";
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
  /** Local folder for bytes on their way. */
  readonly spool: string;
  /** Blobs larger than this are sent in parts of this size, in bytes. S3 takes no less than 5 MiB. */
  readonly partBytes?: number;
  readonly logger?: Logger | undefined;
  readonly now?: () => number;
};

/** Amazon's limit for copying an object in one request. */
const MAX_COPY_BYTES = 5 * 2 ** 30;
const PART_BYTES = 16 * 2 ** 20;
/** A client follows a redirect at once; resuming a large blob it asks the registry again. */
const REDIRECT_SECONDS = 20 * 60;

/**
 * Driver on an S3-compatible object store, for one process: objects `<prefix>blobs/<algorithm>/<hex>`, bytes on their way in
 * a local folder. The key has no generation: the digest lock keeps commits and removals apart (docs/adr/0011).
 * Errors: `CodedError` UNAVAILABLE while the store cannot be reached, INSUFFICIENT_STORAGE when it or the local disk is full.
 */
export function createS3BlobStore(options: S3Options): BlobStore {
  const { location, prefix, credentials, partBytes = PART_BYTES, logger } = options;
  const client = createS3Client({ location, credentials, logger });
  const spool = createSpool(options.spool);
  const folder = `${prefix}blobs/`;
  const keyOf = (digest: Digest): string => `${folder}${algorithmOf(digest)}/${hexOf(digest)}`;
  const removals = createDoubtfulRemovals(options.now);
  const writer = (spooled: Spooled) =>
    createSpooledWriter({ client, keyOf, partBytes, check: (digest) => removals.check(digest), ...spooled });

  async function* list(): AsyncGenerator<Digest> {
    for (const algorithm of DIGEST_ALGORITHMS) {
      const below = `${folder}${algorithm}/`;
      for await (const key of keysBelow(client, below)) {
        const digest = `${algorithm}:${key.slice(below.length)}`;
        if (isDigest(digest)) yield digest;
      }
    }
  }

  async function removeObject(digest: Digest): Promise<void> {
    const onDoubt = (failure: unknown) => removals.add(digest, failure);
    await client.text({ method: "DELETE", key: keyOf(digest), onDoubt });
  }

  /** S3 knows no renaming. What cannot be copied in one request (above 5 GiB) is removed without a copy. */
  async function setAside(digest: Digest): Promise<void> {
    const size = await sizeOf(client, keyOf(digest));
    if (size === undefined) return;
    const key = `${prefix}quarantine/${algorithmOf(digest)}-${hexOf(digest)}.${randomBytes(4).toString("hex")}`;
    if (size <= MAX_COPY_BYTES) await client.copy(keyOf(digest), key);
    else logger?.warn({ digest, size }, "damaged content is too large for a copy: it is removed");
    await removeObject(digest);
  }

  return {
    async start() {
      await spool.start();
      await greet({ client, folder, logger });
    },
    async close() {
      client.close();
    },
    async stat(digest) {
      const size = await sizeOf(client, keyOf(digest)).catch(fail);
      return size === undefined ? undefined : { size };
    },
    open: (digest, range) => openObjectReader({ client, key: keyOf(digest), digest, range }),
    redirectUrl: (digest) => client.presign(keyOf(digest), REDIRECT_SECONDS),
    create: async () => writer(await spool.create()),
    openUpload: async (id) => writer(await spool.openUpload(id)),
    removeUpload: (id) => spool.removeUpload(id),
    async remove(digest) {
      try {
        await removeObject(digest);
      } catch (error) {
        if (!isNoSuchKey(error)) throw storeError(error);
      }
    },
    quarantine: (digest) => setAside(digest).catch(fail),
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
async function greet(deps: { client: S3Client; folder: string; logger: Logger | undefined }): Promise<void> {
  const { client, folder, logger } = deps;
  try {
    await client.text({ method: "GET", key: "", query: { "list-type": "2", "max-keys": "1", prefix: folder } });
  } catch (error) {
    if (!isTransient(error)) throw new Error(`storage.blobs.s3: ${messageOf(error)}`, { cause: error });
    logger?.warn({ err: error }, "the object store is out of reach; starting without it");
    return;
  }
  // Parts of uploads that a killed process left cost money and are in no list of objects.
  try {
    for await (const { key, uploadId } of abandonedUploads(client, folder)) await abortUpload(client, key, uploadId);
  } catch (error) {
    logger?.warn({ err: error }, "abandoned multipart uploads are left to the next start");
  }
}
