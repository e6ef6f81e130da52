import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import type { BlobStore } from "./blob-store.ts";
import type { Objects } from "./object-store/objects.ts";
import { createObjectBlobStore, type ObjectStoreOptions } from "./object-store/store.ts";
import { isNoSuchKey } from "./s3/absence.ts";
import { createS3Client, type S3Location } from "./s3/client.ts";
import { createDoubtfulRemovals } from "./s3/doubtful-removals.ts";
import { abandonedUploads, keysBelow } from "./s3/listing.ts";
import { abortUpload, prepareUpload, putObject, sizeOf } from "./s3/upload.ts";

/** S3 takes no parts of less than 5 MiB. */
export type S3Options = ObjectStoreOptions & {
  readonly location: S3Location;
  readonly credentials: () => Promise<AwsCredentials>;
  readonly refuse?: ((refused: AwsCredentials) => void) | undefined;
  readonly now?: () => number;
};

/** Driver on any S3-compatible object store. */
export function createS3BlobStore(options: S3Options): BlobStore {
  return createObjectBlobStore("s3", createS3Objects(options), options);
}

/** Amazon's limit for copying an object in one request. */
const MAX_COPY_BYTES = 5 * 2 ** 30;

/** The objects themselves, for what is kept beside the blobs. */
export function createS3Objects({ location, credentials, refuse, logger, now }: S3Options): Objects {
  const client = createS3Client({ location, credentials, refuse, logger });
  const removals = createDoubtfulRemovals(now);
  return {
    maxCopyBytes: MAX_COPY_BYTES,
    size: (key) => sizeOf(client, key),
    async get(key, headers) {
      try {
        return await client.send({ method: "GET", key, headers });
      } catch (error) {
        if (isNoSuchKey(error)) return undefined;
        throw error;
      }
    },
    async put(key, upload) {
      removals.check(key);
      await putObject(client, key, upload);
    },
    async prepare(key, upload) {
      const prepared = await prepareUpload(client, key, upload);
      return {
        async complete() {
          removals.check(key);
          await prepared.complete();
        },
        abort: () => prepared.abort(),
      };
    },
    async remove(key) {
      try {
        await client.text({ method: "DELETE", key, onDoubt: (failure) => removals.add(key, failure) });
      } catch (error) {
        if (!isNoSuchKey(error)) throw error;
      }
    },
    copy: (from, to) => client.copy(from, to),
    keysBelow: (prefix) => keysBelow(client, prefix),
    async greet(prefix) {
      await client.text({ method: "GET", key: "", query: { "list-type": "2", "max-keys": "1", prefix } });
    },
    // Parts of uploads that a killed process left cost money and are in no list of objects.
    async tidy(prefix, begunBefore) {
      for await (const { key, uploadId, initiatedAt } of abandonedUploads(client, prefix)) {
        if (initiatedAt <= begunBefore) await abortUpload(client, key, uploadId);
      }
    },
    presign: (key, seconds) => client.presign(key, seconds),
    close: () => client.close(),
  };
}
