import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobWriter } from "./blob-store.ts";
import { writeError } from "./filesystem-errors.ts";

type Target = {
  readonly path: string;
  /** An ingest file dies with its writer and must be new; an upload's file is kept and taken up again. */
  readonly kind: "ingest" | "upload";
  /** Where the bytes of a digest go. */
  readonly destination: (digest: Digest) => string;
};

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;

/** A rename is durable only when the folder that holds the name is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function openTarget({ path, kind }: Target): Promise<{ file: FileHandle; size: number }> {
  const file = await open(path, kind === "ingest" ? CREATE | constants.O_EXCL : CREATE, 0o600);
  const stat = await file.stat();
  if (stat.isFile()) return { file, size: stat.size };
  await file.close();
  throw new Error(`${path} is not a regular file`);
}

/** A temporary file on the file system of the blobs, so that the final rename is atomic. */
export async function openFileWriter(target: Target): Promise<BlobWriter> {
  const { file, size: initialSize } = await openTarget(target).catch((error: unknown) => {
    throw writeError(error);
  });
  let size = initialSize;
  let committed: Digest | undefined;
  let closed: Promise<void> | undefined;

  async function append(chunk: Uint8Array): Promise<void> {
    let done = 0;
    while (done < chunk.byteLength) {
      const { bytesWritten } = await file.write(chunk, done, chunk.byteLength - done, size + done);
      done += bytesWritten;
    }
  }

  async function release(): Promise<void> {
    await file.close();
    if (committed === undefined && target.kind === "ingest") await rm(target.path, { force: true });
  }

  return {
    get size() {
      return size;
    },
    async write(chunk) {
      if (committed !== undefined) throw new Error("a committed blob takes no more bytes");
      try {
        await append(chunk);
      } catch (error) {
        // What a resumed upload counts is the file's size: half a chunk must not stay behind.
        await file.truncate(size).catch(() => {});
        throw writeError(error);
      }
      size += chunk.byteLength;
    },
    async readAt(buffer, position) {
      const length = Math.min(buffer.byteLength, size - position);
      if (length <= 0) return 0;
      return (await file.read(buffer, 0, length, position)).bytesRead;
    },
    async commit(digest) {
      if (committed === digest) return;
      if (committed !== undefined) throw new Error(`already committed as ${committed}`);
      const destination = target.destination(digest);
      try {
        await file.datasync();
        await rename(target.path, destination);
        committed = digest;
        await syncFolder(dirname(destination));
      } catch (error) {
        throw writeError(error);
      }
    },
    close() {
      closed ??= release();
      return closed;
    },
  };
}
