import { constants, fstatSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobWriter } from "./blob-store.ts";
import { storeError } from "./filesystem-errors.ts";

/** Where the bytes of a digest go, and what makes that name durable. */
export type Destination = { readonly path: string; readonly syncFolder: () => Promise<void> };

type Target = {
  readonly path: string;
  /** An ingest file dies with its writer and must be new; an upload's file is kept and taken up again. */
  readonly kind: "ingest" | "upload";
  readonly destination: (digest: Digest) => Destination;
};

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;

async function openTarget({ path, kind }: Target): Promise<{ file: FileHandle; size: number }> {
  const file = await open(path, kind === "ingest" ? CREATE | constants.O_EXCL : CREATE, 0o600);
  // Of an open file it takes a microsecond; a turn through the thread pool takes far longer.
  const stat = fstatSync(file.fd);
  if (stat.isFile()) return { file, size: stat.size };
  await file.close();
  throw new Error(`${path} is not a regular file`);
}

function totalOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** What is left of the chunks after `done` bytes. */
function rest(chunks: readonly Uint8Array[], done: number): Uint8Array[] {
  let skip = done;
  return chunks.flatMap((chunk) => {
    const skipped = Math.min(skip, chunk.byteLength);
    skip -= skipped;
    return skipped === chunk.byteLength ? [] : [chunk.subarray(skipped)];
  });
}

async function writeAll(file: FileHandle, chunks: readonly Uint8Array[], position: number): Promise<number> {
  const total = totalOf(chunks);
  for (let done = 0; done < total; ) {
    const { bytesWritten } = await file.writev(done === 0 ? chunks : rest(chunks, done), position + done);
    done += bytesWritten;
  }
  return total;
}

/** A temporary file on the file system of the blobs, so that the final rename is atomic. */
export async function openFileWriter(target: Target): Promise<BlobWriter> {
  const { file, size: initialSize } = await openTarget(target).catch((error: unknown) => {
    throw storeError(error);
  });
  let size = initialSize;
  let committed: Digest | undefined;
  let closed: Promise<void> | undefined;

  async function release(): Promise<void> {
    await file.close();
    if (committed === undefined && target.kind === "ingest") await rm(target.path, { force: true });
  }

  /**
   * A failure is told once (fsync(2)): what could not be written counts as written from then on, and the next attempt would
   * succeed without it. So nothing of an upload is kept; what dies with its writer may still be read by those who do.
   */
  async function sync(): Promise<void> {
    try {
      await file.datasync();
    } catch (error) {
      if (target.kind === "upload") {
        size = 0;
        await file.truncate(0).catch(() => {});
      }
      throw error;
    }
  }

  return {
    get size() {
      return size;
    },
    async write(bytes) {
      if (committed !== undefined) throw new Error("a committed blob takes no more bytes");
      try {
        size += await writeAll(file, bytes instanceof Uint8Array ? [bytes] : bytes, size);
      } catch (error) {
        // What a resumed upload counts is the file's size: half a chunk must not stay behind.
        await file.truncate(size).catch(() => {});
        throw storeError(error);
      }
    },
    async readAt(buffer, position) {
      const length = Math.min(buffer.byteLength, size - position);
      if (length <= 0) return 0;
      return (await file.read(buffer, 0, length, position)).bytesRead;
    },
    async commit(digest) {
      if (committed === digest) return;
      if (committed !== undefined) throw new Error(`already committed as ${committed}`);
      const { path, syncFolder } = target.destination(digest);
      try {
        await sync();
        await rename(target.path, path);
        committed = digest;
        await syncFolder();
      } catch (error) {
        throw storeError(error);
      }
    },
    close() {
      closed ??= release();
      return closed;
    },
  };
}
