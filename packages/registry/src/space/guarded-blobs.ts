import { CodedError, isCodedError } from "@cache-registry/core/errors";
import type { BlobStore, BlobWriter } from "@cache-registry/storage/blob-store/blob-store";
import type { Disk } from "./disk.ts";

/**
 * The store for those who bring content. On a full disk nothing is taken: what was freed is for those who make room. Reads
 * and removals go on.
 */
export function guardBlobs(blobs: BlobStore, disk: Pick<Disk, "full" | "sawFull">): BlobStore {
  function refuseWhenFull(): void {
    if (disk.full) throw new CodedError("INSUFFICIENT_STORAGE", "the disk of the registry is full");
  }

  async function watch<Value>(attempt: () => Promise<Value>): Promise<Value> {
    refuseWhenFull();
    try {
      return await attempt();
    } catch (error) {
      if (isCodedError(error) && error.code === "INSUFFICIENT_STORAGE") disk.sawFull();
      throw error;
    }
  }

  function guard(writer: BlobWriter): BlobWriter {
    return {
      get size() {
        return writer.size;
      },
      write: (chunk) => watch(() => writer.write(chunk)),
      readAt: (buffer, position) => writer.readAt(buffer, position),
      ...(writer.prepare ? { prepare: (digest) => watch(async () => writer.prepare?.(digest)) } : {}),
      // The bytes are written: what is left takes no room to speak of.
      commit: (...commit) => writer.commit(...commit),
      close: () => writer.close(),
    };
  }

  return {
    ...blobs,
    create: async () => guard(await watch(() => blobs.create())),
    // An upload session is also asked how far it is.
    openUpload: async (id) => guard(await blobs.openUpload(id)),
  };
}
