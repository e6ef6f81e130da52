import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlobStore } from "../blob-store.ts";
import { content, listAll, type OpenStore, readBlob, sha256, writeBlob } from "./fixtures.ts";

export function writingConformance(open: OpenStore): void {
  let store: BlobStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("writing", () => {
    it("shows nothing before the commit and everything after it", async () => {
      const bytes = content(5_000, 2);
      const digest = sha256(bytes);
      const writer = await store.create();
      await writer.write(bytes);
      expect(await store.stat(digest)).toBeUndefined();
      expect(await listAll(store.list())).toEqual([]);
      await writer.commit(digest);
      expect(await listAll(store.list())).toEqual([digest]);
      await writer.close();
      expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    });

    it("reads back while it is written, and after the commit until it is closed", async () => {
      const bytes = content(3_000, 3);
      const writer = await store.create();
      const buffer = Buffer.alloc(10_000);
      expect(await writer.readAt(buffer, 0)).toBe(0);
      await writer.write(bytes.subarray(0, 1_000));
      expect(writer.size).toBe(1_000);
      expect(await writer.readAt(buffer, 400)).toBe(600);
      expect(buffer.subarray(0, 600).equals(bytes.subarray(400, 1_000))).toBe(true);
      await writer.write(bytes.subarray(1_000));
      await writer.commit(sha256(bytes));
      expect(await writer.readAt(buffer, 0)).toBe(3_000);
      expect(buffer.subarray(0, 3_000).equals(bytes)).toBe(true);
      expect(await writer.readAt(buffer, 3_000)).toBe(0);
      await writer.close();
      await writer.close();
    });

    it("takes several chunks at once, in order, empty ones too", async () => {
      const bytes = content(300_000, 9);
      const writer = await store.create();
      await writer.write([bytes.subarray(0, 10), bytes.subarray(10, 10), bytes.subarray(10, 200_000)]);
      await writer.write([]);
      await writer.write([bytes.subarray(200_000)]);
      expect(writer.size).toBe(300_000);
      await writer.commit(sha256(bytes));
      await writer.close();
      expect((await readBlob(store, sha256(bytes))).equals(bytes)).toBe(true);
    });

    it("serves readers that race the writer", async () => {
      const bytes = content(200_000, 4);
      const writer = await store.create();
      const follow = async (step: number): Promise<Buffer> => {
        const chunks: Buffer[] = [];
        for (let position = 0; position < bytes.length; ) {
          const buffer = Buffer.alloc(step);
          const count = await writer.readAt(buffer, position);
          chunks.push(buffer.subarray(0, count));
          position += count;
          if (count === 0) await new Promise(setImmediate);
        }
        return Buffer.concat(chunks);
      };
      const followers = [follow(999), follow(4_096), follow(65_536)];
      for (let start = 0; start < bytes.length; start += 7_001) {
        await writer.write(bytes.subarray(start, start + 7_001));
      }
      await writer.commit(sha256(bytes));
      for (const read of await Promise.all(followers)) expect(read.equals(bytes)).toBe(true);
      await writer.close();
    });

    it("keeps nothing of a writer that closes without a commit", async () => {
      const writer = await store.create();
      await writer.write(content(100, 5));
      await writer.close();
      expect(await listAll(store.list())).toEqual([]);
    });

    it("commits twice without harm, and takes no bytes and no other digest afterwards", async () => {
      const bytes = content(100, 6);
      const writer = await store.create();
      await writer.write(bytes);
      await writer.commit(sha256(bytes));
      await writer.commit(sha256(bytes));
      await expect(writer.write(bytes)).rejects.toThrow("committed");
      await expect(writer.commit(sha256("another"))).rejects.toThrow("already committed");
      await writer.close();
      expect(await store.stat(sha256(bytes))).toEqual({ size: 100 });
    });

    it("takes the same content from many writers at once", async () => {
      const bytes = content(50_000, 7);
      const digests = await Promise.all(Array.from({ length: 8 }, () => writeBlob(store, bytes)));
      expect(new Set(digests).size).toBe(1);
      expect(new Set(await listAll(store.list()))).toEqual(new Set([sha256(bytes)]));
      expect((await readBlob(store, sha256(bytes))).equals(bytes)).toBe(true);
    });

    it("lists every blob once", async () => {
      const digests = [];
      for (let seed = 10; seed < 20; seed++) digests.push(await writeBlob(store, content(50, seed)));
      expect((await listAll(store.list())).sort()).toEqual(digests.sort());
    });
  });
}
