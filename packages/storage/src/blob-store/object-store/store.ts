import { randomBytes } from "node:crypto";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, hexOf } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
import { BlobMissingError, type BlobStore, type Confirm } from "../blob-store.ts";
import { failAsStore, isTransient } from "./errors.ts";
import { createPlainKeys, createUniqueKeys } from "./keys.ts";
import type { Objects } from "./objects.ts";
import { openObjectReader } from "./reader.ts";
import { createSpool, type Spooled } from "./spool.ts";
import { createSpooledWriter } from "./writer.ts";

/** What every object store is given, whichever it is. */
export type ObjectStoreOptions = {
  /** Before every key: empty, or ending in a slash. */
  readonly prefix: string;
  /** Many replicas share the store. */
  readonly shared?: boolean | undefined;
  /** Local folder for bytes on their way. */
  readonly spool: string;
  /** Blobs larger than this are sent in parts of this size, in bytes. */
  readonly partBytes?: number;
  readonly logger?: Logger | undefined;
};

const PART_BYTES = 16 * 2 ** 20;
/** A client follows a redirect at once; resuming a large blob it asks the registry again. */
const REDIRECT_SECONDS = 20 * 60;
/** What other replicas are sending now is not abandoned. Milliseconds. */
const ABANDONED_AFTER_MS = 24 * 3_600_000;

/**
 * Driver on an object store: bytes on their way are in a local folder. For one process, objects are called
 * `<prefix>blobs/<algorithm>/<hex>` (docs/adr/0011); with `shared`, every commit has a key of its own (docs/adr/0018).
 * Errors: `CodedError` UNAVAILABLE while the store cannot be reached, INSUFFICIENT_STORAGE when it or the local disk is full.
 * @param name of the driver, as in its configuration key
 */
export function createObjectBlobStore(name: string, objects: Objects, options: ObjectStoreOptions): BlobStore {
  const { prefix, shared = false, partBytes = PART_BYTES, logger } = options;
  const spool = createSpool(options.spool);
  const folder = `${prefix}blobs/`;
  const keys = shared ? createUniqueKeys(folder, (below) => objects.keysBelow(below)) : createPlainKeys(folder);
  const keyOf = (digest: Digest) => keys.create(digest);
  const writer = (spooled: Spooled) => createSpooledWriter({ objects, keyOf, partBytes, ...spooled });

  /** Undefined when there is no object, also not under another key than the one that is remembered. */
  async function withObject<Result>(
    digest: Digest,
    use: (key: string) => Promise<Result | undefined>,
  ): Promise<Result | undefined> {
    const key = await keys.find(digest);
    const found = key === undefined ? undefined : await use(key);
    if (found !== undefined || !shared) return found;
    const other = await keys.find(digest, true);
    return other === undefined || other === key ? undefined : use(other);
  }

  async function* list(): AsyncGenerator<Digest> {
    for (const algorithm of DIGEST_ALGORITHMS) {
      for await (const key of objects.keysBelow(`${folder}${algorithm}/`)) {
        const digest = keys.digestOf(key);
        if (digest !== undefined) yield digest;
      }
    }
  }

  /** Object stores know no renaming. What cannot be copied is removed without a copy. */
  async function setAside(digest: Digest, confirm: Confirm | undefined): Promise<void> {
    const object = await withObject(digest, async (key) => {
      const size = await objects.size(key);
      return size === undefined ? undefined : { key, size };
    });
    if (!object) return;
    await confirm?.();
    const { key, size } = object;
    const aside = `${prefix}quarantine/${algorithmOf(digest)}-${hexOf(digest)}.${randomBytes(4).toString("hex")}`;
    if (size <= objects.maxCopyBytes) await objects.copy(key, aside);
    else logger?.warn({ digest, size }, "damaged content is too large for a copy: it is removed");
    await objects.remove(key);
  }

  async function removeAll(doomed: readonly string[], confirm: Confirm | undefined): Promise<void> {
    await confirm?.();
    for (const key of doomed) await objects.remove(key).catch(failAsStore);
  }

  /**
   * Finds out at the start what can be wrong with names and rights. A store that is out of reach is none of that: what is in
   * memory is served, the rest answers 503, and all is well again when the store is.
   */
  async function greet(): Promise<void> {
    try {
      await objects.greet(folder);
    } catch (error) {
      if (!isTransient(error)) throw new Error(`storage.blobs.${name}: ${messageOf(error)}`, { cause: error });
      logger?.warn({ err: error }, "the object store is out of reach; starting without it");
      return;
    }
    try {
      await objects.tidy?.(folder, Date.now() - (shared ? ABANDONED_AFTER_MS : 0));
    } catch (error) {
      logger?.warn({ err: error }, "abandoned multipart uploads are left to the next start");
    }
  }

  async function publicPath(digest: Digest): Promise<string> {
    const key = await keys.find(digest).catch(failAsStore);
    if (key === undefined) throw new BlobMissingError(digest);
    return key;
  }

  const presign = objects.presign?.bind(objects);

  return {
    async start() {
      await spool.start();
      await greet();
    },
    async close() {
      objects.close();
    },
    async stat(digest) {
      const size = await withObject(digest, (key) => objects.size(key)).catch(failAsStore);
      return size === undefined ? undefined : { size };
    },
    async open(digest, range) {
      const open = (key: string) => openObjectReader({ objects, key, digest, range });
      const reader = await withObject(digest, open).catch(failAsStore);
      if (!reader) throw new BlobMissingError(digest);
      return reader;
    },
    ...(presign && {
      redirectUrl: async (digest) => presign(await publicPath(digest), REDIRECT_SECONDS).catch(failAsStore),
    }),
    publicPath,
    create: async () => writer(await spool.create()),
    openUpload: async (id) => writer(await spool.openUpload(id)),
    removeUpload: (id) => spool.removeUpload(id),
    remove: async (digest, _generation, confirm) => removeAll(await keys.all(digest).catch(failAsStore), confirm),
    async removeCopies(digest, confirm) {
      const copies = (await keys.all(digest).catch(failAsStore)).slice(0, -1);
      await removeAll(copies, confirm);
      return copies.length;
    },
    quarantine: (digest, confirm) => setAside(digest, confirm).catch(failAsStore),
    list,
    listUploads: () => spool.listUploads(),
  };
}
