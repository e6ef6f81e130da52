import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MetadataStore } from "../metadata-store.ts";
import type { OpenStore } from "./fixtures.ts";

export function uploadConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("upload sessions", () => {
    const upload = { id: "u1", repository: "team/app", startedAt: 10, touchedAt: 10 };

    it("are kept until they are deleted", async () => {
      await store.createUpload(upload);
      expect(await store.upload("u1")).toEqual(upload);
      expect(await store.upload("u2")).toBeUndefined();
      await store.touchUpload("u1", 50);
      expect(await store.upload("u1")).toEqual({ ...upload, touchedAt: 50 });
      expect(await store.deleteUpload("u1")).toBe(true);
      expect(await store.deleteUpload("u1")).toBe(false);
      expect(await store.upload("u1")).toBeUndefined();
    });

    it("refuse an id twice and go on", async () => {
      await store.createUpload(upload);
      const results = await Promise.allSettled([
        store.createUpload({ ...upload, repository: "thief" }),
        store.createUpload({ ...upload, id: "u2" }),
      ]);
      expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
      expect((await store.upload("u1"))?.repository).toBe("team/app");
      expect(await store.upload("u2")).toMatchObject({ id: "u2" });
    });

    it("are found when nobody continued them, the longest idle first", async () => {
      for (const [id, touchedAt] of [
        ["b", 30],
        ["a", 20],
        ["c", 40],
        ["d", 50],
      ] as const) {
        await store.createUpload({ id, repository: "team/app", startedAt: 10, touchedAt });
      }
      await store.touchUpload("a", 45);
      const ids = async (before: number, limit: number): Promise<string[]> =>
        (await store.idleUploads(before, limit)).map(({ id }) => id);
      expect(await ids(50, 10)).toEqual(["b", "c", "a"]);
      expect(await ids(50, 2)).toEqual(["b", "c"]);
      expect(await ids(30, 10)).toEqual([]);
    });
  });
}
