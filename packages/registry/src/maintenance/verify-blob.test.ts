import { digestOfBytes } from "@cache-registry/core/verify";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { storeError } from "@cache-registry/storage/blob-store/filesystem-errors";
import { describe, expect, it } from "vitest";
import { verifyBlob } from "./verify-blob.ts";

const blob = { digest: digestOfBytes(Buffer.from("bytes")), size: 5 };

/** A store on a disk that answers a read so: no real one fails on demand. */
function failingWith(code: string): BlobStore {
  const read = (): Promise<number> => Promise.reject(storeError(Object.assign(new Error(code), { code })));
  return { open: async () => ({ read, close: async () => {} }) } as Partial<BlobStore> as BlobStore;
}

describe("a disk that cannot read the bytes", () => {
  it.each(["EIO", "EUCLEAN"])("has damaged them: %s", async (code) => {
    expect(await verifyBlob(failingWith(code), blob)).toBe("damaged");
  });

  it.each(["EMFILE", "EACCES"])("says nothing about them: %s", async (code) => {
    await expect(verifyBlob(failingWith(code), blob)).rejects.toThrow(code);
  });
});
