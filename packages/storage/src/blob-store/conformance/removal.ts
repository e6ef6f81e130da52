import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlobMissingError, type BlobStore } from "../blob-store.ts";
import { createDigestLock } from "../digest-lock.ts";
import { content, listAll, type OpenStore, readAll, readBlob, sha256, writeBlob } from "./fixtures.ts";

export function removalConformance(open: OpenStore): void {
  let store: BlobStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("removing", () => {
    it("removes, and again without an error", async () => {
      const digest = await writeBlob(store, content(500, 9));
      await store.remove(digest, 1);
      await store.remove(digest, 1);
      expect(await store.stat(digest)).toBeUndefined();
      expect(await listAll(store.list())).toEqual([]);
      await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
    });

    it("lets a reader finish that was there first", async () => {
      const bytes = content(20_000, 10);
      const digest = await writeBlob(store, bytes);
      const reader = await store.open(digest);
      const head = Buffer.alloc(1_000);
      const count = await reader.read(head);
      await store.remove(digest, 1);
      const rest = await readAll(reader);
      expect(Buffer.concat([head.subarray(0, count), rest]).equals(bytes)).toBe(true);
      await reader.close();
    });

    it("sets damaged bytes aside, again without an error, and takes good ones", async () => {
      const bytes = content(600, 13);
      const digest = await writeBlob(store, bytes);
      if (!store.quarantine) return;
      await store.quarantine(digest);
      await store.quarantine(digest);
      expect(await store.stat(digest)).toBeUndefined();
      expect(await listAll(store.list())).toEqual([]);
      await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
      await writeBlob(store, bytes);
      expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    });

    it("takes new bytes of a removed blob", async () => {
      const bytes = content(700, 11);
      const digest = await writeBlob(store, bytes);
      await store.remove(digest, 1);
      await writeBlob(store, bytes);
      expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
      await store.remove(digest, 2);
      expect(await store.stat(digest)).toBeUndefined();
    });

    it("never loses bytes committed after a removal was decided, under the digest lock", async () => {
      const bytes = content(300, 12);
      const digest = sha256(bytes);
      const lock = createDigestLock();
      let live: number | undefined;
      let generation = 0;
      const push = (): Promise<void> =>
        lock.run(digest, async () => {
          await writeBlob(store, bytes);
          live ??= ++generation;
        });
      const collect = (): Promise<void> =>
        lock.run(digest, async () => {
          if (live === undefined) return;
          await store.remove(digest, live);
          live = undefined;
        });
      for (let round = 0; round < 30; round++) {
        await Promise.all(round % 2 === 0 ? [push(), collect(), push()] : [collect(), push(), collect()]);
        const there = (await store.stat(digest)) !== undefined;
        expect(there).toBe(live !== undefined);
      }
    });
  });
}
