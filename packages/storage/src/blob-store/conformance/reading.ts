import type { Digest } from "@cache-registry/core/digest";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlobMissingError, type BlobStore } from "../blob-store.ts";
import { content, type OpenStore, readAll, readBlob, sha256, writeBlob } from "./fixtures.ts";

export function readingConformance(open: OpenStore): void {
  let store: BlobStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("reading", () => {
    const bytes = content(10_000);
    let digest: Digest;
    beforeEach(async () => {
      digest = await writeBlob(store, bytes);
    });

    it("gives back what was written, and its size", async () => {
      expect(await store.stat(digest)).toEqual({ size: 10_000 });
      expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    });

    it.each([
      { start: 0, end: 0 },
      { start: 0, end: 9_999 },
      { start: 999, end: 2_000 },
      { start: 9_999, end: 9_999 },
      { start: 5_000, end: 50_000 },
    ])("reads bytes $start to $end, both included", async (range) => {
      const part = await readBlob(store, digest, range);
      expect(part.equals(bytes.subarray(range.start, range.end + 1))).toBe(true);
    });

    it("reads nothing behind the end", async () => {
      expect((await readBlob(store, digest, { start: 10_000, end: 20_000 })).length).toBe(0);
    });

    it("fills a buffer of any size", async () => {
      const reader = await store.open(digest, { start: 10, end: 9_000 });
      expect((await readAll(reader, 7)).equals(bytes.subarray(10, 9_001))).toBe(true);
      await reader.close();
    });

    it("says that a blob is missing", async () => {
      const absent = sha256("never stored");
      expect(await store.stat(absent)).toBeUndefined();
      await expect(store.open(absent)).rejects.toThrow(BlobMissingError);
    });

    it("stores an empty blob", async () => {
      const empty = await writeBlob(store, new Uint8Array());
      expect(await store.stat(empty)).toEqual({ size: 0 });
      expect((await readBlob(store, empty)).length).toBe(0);
    });
  });
}
