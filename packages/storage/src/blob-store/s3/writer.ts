import { rm } from "node:fs/promises";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobWriter } from "../blob-store.ts";
import type { S3Client } from "./client.ts";
import { storeError } from "./errors.ts";
import { type PreparedUpload, prepareUpload, putObject } from "./upload.ts";

export type SpooledWriter = {
  readonly client: S3Client;
  readonly keyOf: (digest: Digest) => string;
  /** What is larger goes in parts of this size, in bytes. */
  readonly partBytes: number;
  /** The temporary file, which is never committed itself. */
  readonly spooled: BlobWriter;
  readonly path: string;
  /** @throws what speaks against committing the digest now */
  readonly check: (digest: Digest) => void;
};

/** A blob is written to the local disk, where it can be read back at once; the commit sends it away. */
export function createSpooledWriter(options: SpooledWriter): BlobWriter {
  const { client, keyOf, partBytes, spooled, path, check } = options;
  let committed: Digest | undefined;
  let prepared: { readonly digest: Digest; readonly upload: PreparedUpload } | undefined;
  let closed: Promise<void> | undefined;

  async function prepare(digest: Digest): Promise<void> {
    if (committed !== undefined || prepared?.digest === digest || spooled.size <= partBytes) return;
    prepared = { digest, upload: await prepareUpload(client, keyOf(digest), { content: spooled, partBytes }) };
  }

  async function send(digest: Digest): Promise<void> {
    check(digest);
    await prepare(digest);
    if (!prepared) return putObject(client, keyOf(digest), { content: spooled, digest });
    if (prepared.digest !== digest) throw new Error(`already prepared as ${prepared.digest}`);
    await prepared.upload.complete();
    prepared = undefined;
  }

  async function release(): Promise<void> {
    await spooled.close();
    // What cannot be aborted now is found at the next start.
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
    prepare: (digest) => prepare(digest).catch(fail),
    async commit(digest) {
      if (committed === digest) return;
      if (committed !== undefined) throw new Error(`already committed as ${committed}`);
      await send(digest).catch(fail);
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

function fail(error: unknown): never {
  throw storeError(error);
}
