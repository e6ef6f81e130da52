import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { BlobMissingError, type BlobStore, type BlobWriter } from "./blob-store.ts";

type Bytes = { data: Buffer; size: number; modifiedAt: number };

const UPLOAD_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;

function append(bytes: Bytes, chunk: Uint8Array): void {
  if (bytes.size + chunk.byteLength > bytes.data.byteLength) {
    const grown = Buffer.alloc(Math.max(1024, 2 * (bytes.size + chunk.byteLength)));
    bytes.data.copy(grown, 0, 0, bytes.size);
    bytes.data = grown;
  }
  bytes.data.set(chunk, bytes.size);
  bytes.size += chunk.byteLength;
  bytes.modifiedAt = Date.now();
}

function copyOut({ data, size }: Bytes, buffer: Uint8Array, position: number): number {
  return position >= size ? 0 : data.copy(buffer, 0, position, Math.min(size, position + buffer.byteLength));
}

/** The port in its plainest form: for tests and for trying things out. Holds every blob in memory; gone with the process. */
export function createMemoryBlobStore(): BlobStore {
  const blobs = new Map<Digest, Bytes>();
  const uploads = new Map<string, Bytes>();

  function createWriter(bytes: Bytes, onCommit: () => void): BlobWriter {
    let committed: Digest | undefined;
    return {
      get size() {
        return bytes.size;
      },
      async write(chunks) {
        if (committed !== undefined) throw new Error("a committed blob takes no more bytes");
        for (const chunk of chunks instanceof Uint8Array ? [chunks] : chunks) append(bytes, chunk);
      },
      readAt: async (buffer, position) => copyOut(bytes, buffer, position),
      async commit(digest) {
        if (committed === digest) return;
        if (committed !== undefined) throw new Error(`already committed as ${committed}`);
        committed = digest;
        blobs.set(digest, bytes);
        onCommit();
      },
      close: async () => {},
    };
  }

  const empty = (): Bytes => ({ data: Buffer.alloc(0), size: 0, modifiedAt: Date.now() });
  function checkId(id: string): void {
    if (!UPLOAD_ID.test(id)) throw new CodedError("BLOB_UPLOAD_UNKNOWN");
  }

  return {
    start: async () => {},
    close: async () => {},
    async stat(digest) {
      const bytes = blobs.get(digest);
      return bytes && { size: bytes.size };
    },
    async open(digest, range) {
      const bytes = blobs.get(digest);
      if (!bytes) throw new BlobMissingError(digest);
      let position = range?.start ?? 0;
      const end = range?.end ?? bytes.size - 1;
      return {
        async read(buffer) {
          const length = Math.min(buffer.byteLength, Math.max(0, end + 1 - position));
          const count = copyOut(bytes, buffer.subarray(0, length), position);
          position += count;
          return count;
        },
        close: async () => {},
      };
    },
    create: async () => createWriter(empty(), () => {}),
    async openUpload(id) {
      checkId(id);
      const bytes = uploads.get(id) ?? empty();
      uploads.set(id, bytes);
      return createWriter(bytes, () => uploads.delete(id));
    },
    async removeUpload(id) {
      checkId(id);
      uploads.delete(id);
    },
    async remove(digest) {
      blobs.delete(digest);
    },
    async quarantine(digest) {
      blobs.delete(digest);
    },
    async *list() {
      yield* [...blobs.keys()];
    },
    async *listUploads() {
      for (const [id, { modifiedAt }] of [...uploads]) yield { id, modifiedAt };
    },
  };
}
