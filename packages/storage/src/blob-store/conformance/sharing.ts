import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlobMissingError, type BlobStore } from "../blob-store.ts";
import { content, listAll, readAll, readBlob, sha256, writeBlob } from "./fixtures.ts";

/** Gives a started store of the replica of this name; the same bytes for all names until `anew`. */
export type OpenShared = (replica: string, anew?: boolean) => Promise<BlobStore>;

const held = async (): Promise<void> => {};

/** For drivers that many replicas may use on the same bytes. */
export function sharedBlobStoreConformance(driver: string, open: OpenShared): void {
  describe(`blob store of many replicas: ${driver}`, () => {
    let one: BlobStore;
    let two: BlobStore;
    const bytes = content(5_000, 21);
    const digest = sha256(bytes);
    beforeEach(async () => {
      one = await open("one", true);
      two = await open("two");
    });
    afterEach(() => Promise.all([one.close(), two.close()]));

    it("shows each replica what the others committed and removed", async () => {
      await writeBlob(one, bytes);
      expect((await readBlob(two, digest)).equals(bytes)).toBe(true);
      await two.remove(digest, 1, held);
      expect(await one.stat(digest)).toBeUndefined();
      await expect(one.open(digest)).rejects.toThrow(BlobMissingError);
      await writeBlob(two, bytes);
      expect(await one.stat(digest)).toEqual({ size: bytes.length });
      expect((await readBlob(one, digest, { start: 10, end: 19 })).equals(bytes.subarray(10, 20))).toBe(true);
      // Where it was is remembered, and now it is elsewhere.
      await two.remove(digest, 2, held);
      await writeBlob(two, bytes);
      expect((await readBlob(one, digest)).equals(bytes)).toBe(true);
    });

    it.each([
      "remove",
      "quarantine",
    ] as const)("lets a late %s take no bytes that were committed after it was settled", async (how) => {
      await writeBlob(one, bytes);
      const late = () => writeBlob(two, bytes).then(() => undefined);
      await (how === "remove" ? one.remove(digest, 1, late) : one.quarantine?.(digest, late));
      for (const store of [one, two]) expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    });

    it("removes nothing when the lock was lost", async () => {
      await writeBlob(one, bytes);
      const lost = () => Promise.reject(new Error("lost"));
      await expect(one.remove(digest, 1, lost)).rejects.toThrow("lost");
      await expect(one.quarantine?.(digest, lost)).rejects.toThrow("lost");
      expect((await readBlob(two, digest)).equals(bytes)).toBe(true);
    });

    it("holds a blob that two committed, until it is removed", async () => {
      await Promise.all([writeBlob(one, bytes), writeBlob(two, bytes)]);
      expect(new Set(await listAll(one.list()))).toEqual(new Set([digest]));
      await one.removeCopies?.(digest, held);
      expect(await listAll(two.list())).toEqual([digest]);
      expect((await readBlob(two, digest)).equals(bytes)).toBe(true);
      await Promise.all([writeBlob(one, bytes), writeBlob(two, bytes)]);
      await two.remove(digest, 1, held);
      expect(await listAll(one.list())).toEqual([]);
      expect(await one.stat(digest)).toBeUndefined();
    });

    it("leaves alone what another replica is writing", async () => {
      const writer = await one.create();
      const upload = await one.openUpload("session");
      await writer.write(bytes);
      await upload.write(bytes);
      const third = await open("three");
      expect(await listAll(third.listUploads())).toEqual([]);
      expect(await third.removeLeftovers?.(async () => new Set(["one", "two", "three"]))).toBeOneOf([0, undefined]);
      await writer.commit(digest);
      await writer.close();
      const rest = Buffer.alloc(bytes.length);
      expect(await upload.readAt(rest, 0)).toBe(bytes.length);
      await upload.close();
      expect((await listAll(one.listUploads())).map(({ id }) => id)).toEqual(["session"]);
      expect((await readBlob(third, digest)).equals(bytes)).toBe(true);
      await third.close();
    });

    it("lets a reader finish although another replica removes the blob", async () => {
      await writeBlob(one, bytes);
      const reader = await one.open(digest);
      const head = Buffer.alloc(10);
      const count = await reader.read(head);
      await two.remove(digest, 1, held);
      expect(Buffer.concat([head.subarray(0, count), await readAll(reader)]).equals(bytes)).toBe(true);
      await reader.close();
    });
  });
}
