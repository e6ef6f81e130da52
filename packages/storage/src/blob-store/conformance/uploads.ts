import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlobStore } from "../blob-store.ts";
import { content, listAll, type OpenStore, readBlob, sha256 } from "./fixtures.ts";

export function uploadConformance(open: OpenStore): void {
  let store: BlobStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("uploads", () => {
    const bytes = content(4_000, 8);

    it("goes on where an earlier writer stopped", async () => {
      const first = await store.openUpload("session-1");
      await first.write(bytes.subarray(0, 1_500));
      await first.close();
      expect((await listAll(store.listUploads())).map(({ id }) => id)).toEqual(["session-1"]);
      const second = await store.openUpload("session-1");
      expect(second.size).toBe(1_500);
      const buffer = Buffer.alloc(1_500);
      expect(await second.readAt(buffer, 0)).toBe(1_500);
      expect(buffer.equals(bytes.subarray(0, 1_500))).toBe(true);
      await second.write(bytes.subarray(1_500));
      await second.commit(sha256(bytes));
      await second.close();
      expect((await readBlob(store, sha256(bytes))).equals(bytes)).toBe(true);
      expect(await listAll(store.listUploads())).toEqual([]);
    });

    it("shows no upload among the blobs", async () => {
      const writer = await store.openUpload("session-2");
      await writer.write(bytes);
      expect(await listAll(store.list())).toEqual([]);
      await writer.close();
      const [upload] = await listAll(store.listUploads());
      expect(Math.abs((upload?.modifiedAt ?? 0) - Date.now())).toBeLessThan(60_000);
    });

    it("forgets an upload, also one that never was", async () => {
      const writer = await store.openUpload("session-3");
      await writer.write(bytes);
      await writer.close();
      await store.removeUpload("session-3");
      await store.removeUpload("session-3");
      const again = await store.openUpload("session-3");
      expect(again.size).toBe(0);
      await again.close();
    });

    it.each([
      "",
      "..",
      "../ingest/x",
      "a/b",
      "a\\b",
      ".hidden",
      "-",
      "a\0b",
      "a".repeat(200),
    ])("refuses the id %j", async (id) => {
      await expect(store.openUpload(id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
      await expect(store.removeUpload(id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    });
  });
}
