import { rm } from "node:fs/promises";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobWriter } from "../blob-store.ts";
import { failAsStore } from "./errors.ts";
import type { Objects, PreparedUpload } from "./objects.ts";

export type SpooledWriter = {
  readonly objects: Objects;
  readonly keyOf: (digest: Digest) => string;
  /** What is larger goes in parts of this size, in bytes. */
  readonly partBytes: number;
  /** The temporary file, which is never committed itself. */
  readonly spooled: BlobWriter;
  readonly path: string;
};

/** A blob is written to the local disk, where it can be read back at once; the commit sends it away. */
export function createSpooledWriter({ objects, keyOf, partBytes, spooled, path }: SpooledWriter): BlobWriter {
  let committed: Digest | undefined;
  let prepared: { readonly digest: Digest; readonly upload: PreparedUpload } | undefined;
  let closed: Promise<void> | undefined;

  async function prepare(digest: Digest): Promise<void> {
    if (committed !== undefined || prepared?.digest === digest || spooled.size <= partBytes) return;
    prepared = { digest, upload: await objects.prepare(keyOf(digest), { content: spooled, digest, partBytes }) };
  }

  async function send(digest: Digest): Promise<void> {
    await prepare(digest);
    if (!prepared) return objects.put(keyOf(digest), { content: spooled, digest });
    if (prepared.digest !== digest) throw new Error(`already prepared as ${prepared.digest}`);
    await prepared.upload.complete();
    prepared = undefined;
  }

  async function release(): Promise<void> {
    await spooled.close();
    // What cannot be aborted now is found at the next start, or by the store itself.
    await prepared?.upload.abort().catch(() => undefined);
  }

  return {
    get size() {
      return spooled.size;
    },
    async write(bytes) {
      if (committed !== undefined) throw new Error("a committed blob takes no more bytes");
      if (prepared) throw new Error("a prepared blob takes no more bytes");
      await spooled.write(bytes);
    },
    readAt: (buffer, position) => spooled.readAt(buffer, position),
    prepare: (digest) => prepare(digest).catch(failAsStore),
    async commit(digest) {
      if (committed === digest) return;
      if (committed !== undefined) throw new Error(`already committed as ${committed}`);
      await send(digest).catch(failAsStore);
      committed = digest;
      // The handle keeps the bytes for those who read them.
      await rm(path, { force: true });
    },
    close() {
      closed ??= release();
      return closed;
    },
  };
}
