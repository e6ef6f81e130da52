import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MetadataStore } from "../metadata-store.ts";
import {
  blobRef,
  CACHED,
  collect,
  digest,
  GRACE,
  LOCAL,
  linkBlob,
  NOTHING,
  type OpenStore,
  OTHER,
  putManifest,
  rulesAt,
} from "./fixtures.ts";

const LATER = 10 * GRACE;

export function blobConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const link = (name: string, repository = LOCAL, now = 0) => store.linkBlob({ repository, digest: digest(name), now });

  describe("blob links", () => {
    it("make a blob live and readable in one repository", async () => {
      expect(await store.blob(digest("a"))).toBeUndefined();
      expect(await linkBlob(store, "a", LOCAL)).toBe(true);
      expect(await store.blob(digest("a"))).toMatchObject({ digest: digest("a"), size: 10 });
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(true);
      expect(await store.isLinked(OTHER.name, digest("a"))).toBe(false);
    });

    it("mount a live blob without bytes, and only a live one", async () => {
      expect(await link("a")).toBe(false);
      expect(await store.hasRepository(LOCAL.name)).toBe(false);
      await linkBlob(store, "a", OTHER);
      expect(await link("a")).toBe(true);
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(true);
      expect((await store.usage()).blobs).toBe(1);
    });

    it("are offered for a mount from local repositories only", async () => {
      await linkBlob(store, "a", CACHED);
      expect(await store.findLocalLink(digest("a"))).toBeUndefined();
      await linkBlob(store, "a", OTHER);
      expect(await store.findLocalLink(digest("a"))).toBe(OTHER.name);
    });

    it("go one by one", async () => {
      await linkBlob(store, "a", LOCAL);
      await linkBlob(store, "a", OTHER);
      expect(await store.unlinkBlob(LOCAL.name, digest("a"), 1)).toBe(true);
      expect(await store.unlinkBlob(LOCAL.name, digest("a"), 1)).toBe(false);
      expect(await store.unlinkBlob("no/where", digest("a"), 1)).toBe(false);
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(false);
      expect(await store.isLinked(OTHER.name, digest("a"))).toBe(true);
      expect(await collect(store, rulesAt(LATER))).toEqual([digest("a")]);
    });

    it("are forgotten with the blob, whose next bytes are a new generation", async () => {
      await linkBlob(store, "a", LOCAL);
      const before = await store.blob(digest("a"));
      await store.forgetBlob(digest("a"));
      expect(await store.blob(digest("a"))).toBeUndefined();
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(false);
      expect(await link("a")).toBe(false);
      await linkBlob(store, "a", LOCAL);
      expect((await store.blob(digest("a")))?.generation).not.toBe(before?.generation);
    });

    it("keep the generation while the blob lives", async () => {
      await linkBlob(store, "a", LOCAL);
      const { generation } = (await store.blob(digest("a"))) ?? {};
      await linkBlob(store, "a", OTHER, 5);
      expect((await store.blob(digest("a")))?.generation).toBe(generation);
    });
  });

  describe("usage", () => {
    it("counts live blobs once, manifests and repositories, through every change", async () => {
      expect(await store.usage()).toEqual(NOTHING);
      await linkBlob(store, "a", CACHED);
      await linkBlob(store, "a", LOCAL);
      await putManifest(store, "m", { references: [blobRef("a")], tags: ["v1"] });
      expect(await store.usage()).toMatchObject({ blobs: 2, bytes: 110, manifests: 1, repositories: 1 });
      const [doomed] = [await linkBlob(store, "b"), await store.beginBlobDeletion(digest("b"), rulesAt(LATER))].slice(
        1,
      );
      expect(doomed).toMatchObject({ digest: digest("b") });
      expect(await store.usage()).toMatchObject({ blobs: 2, bytes: 110, manifests: 1, repositories: 1 });
      await linkBlob(store, "b");
      expect(await store.usage()).toMatchObject({ blobs: 3, bytes: 120 });
      await store.forgetBlob(digest("b"));
      await store.deleteTag(CACHED.name, "v1", 0);
      await collect(store, rulesAt(LATER));
      await collect(store, rulesAt(LATER + UNBACKED));
      expect(await store.usage()).toEqual(NOTHING);
      expect(await store.reviewBacklog()).toEqual({ nextAt: null, length: 0 });
    });
  });

  describe("deletion in two phases", () => {
    it("hides the blob at once and forgets it at the end", async () => {
      await linkBlob(store, "a");
      const doomed = await store.beginBlobDeletion(digest("a"), rulesAt(LATER));
      expect(doomed).toMatchObject({ digest: digest("a"), size: 10 });
      expect(await store.blob(digest("a"))).toBeUndefined();
      expect(await store.isLinked(CACHED.name, digest("a"))).toBe(false);
      expect(await link("a", CACHED)).toBe(false);
      const push = { repository: LOCAL, references: [blobRef("a")], requireReferences: true };
      expect((await putManifest(store, "m", push)).missing).toEqual([digest("a")]);
      expect(await store.deletingBlobs(10)).toEqual([doomed]);
      await store.finishBlobDeletion(digest("a"), doomed?.generation ?? -1);
      expect(await store.deletingBlobs(10)).toEqual([]);
    });

    it("may be begun again after a crash or a removal that failed, and stays due until it is finished", async () => {
      await linkBlob(store, "a");
      const doomed = await store.beginBlobDeletion(digest("a"), rulesAt(LATER));
      expect(await store.dueReviews(LATER, 10)).toMatchObject([{ kind: "blob", digest: digest("a") }]);
      expect(await store.beginBlobDeletion(digest("a"), rulesAt(LATER + 1))).toEqual(doomed);
      await store.finishBlobDeletion(digest("a"), doomed?.generation ?? -1);
      expect(await store.dueReviews(LATER, 10)).toEqual([]);
    });

    it("never removes a later generation", async () => {
      await linkBlob(store, "a");
      const doomed = await store.beginBlobDeletion(digest("a"), rulesAt(LATER));
      await linkBlob(store, "a", LOCAL, LATER);
      const revived = await store.blob(digest("a"));
      expect(revived?.generation).not.toBe(doomed?.generation);
      expect(await store.deletingBlobs(10)).toEqual([]);
      await store.finishBlobDeletion(digest("a"), doomed?.generation ?? -1);
      expect(await store.blob(digest("a"))).toEqual(revived);
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(true);
    });

    it("removes nothing that was not begun", async () => {
      await linkBlob(store, "a");
      const { generation = -1 } = (await store.blob(digest("a"))) ?? {};
      await store.finishBlobDeletion(digest("a"), generation);
      expect(await store.blob(digest("a"))).toMatchObject({ generation });
      expect(await store.beginBlobDeletion(digest("absent"), rulesAt(LATER))).toBeUndefined();
    });

    it("waits until the youngest unbacked link is older than the grace", async () => {
      await linkBlob(store, "a", LOCAL, 100);
      await linkBlob(store, "a", OTHER, 500);
      await store.touchBlobs([{ repository: LOCAL.name, digest: digest("a"), at: 900 }]);
      expect(await store.beginBlobDeletion(digest("a"), rulesAt(500 + GRACE))).toBeUndefined();
      expect(await store.isLinked(OTHER.name, digest("a"))).toBe(false);
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(true);
      expect(await store.reviewBacklog()).toEqual({ nextAt: 900 + GRACE, length: 1 });
      expect(await store.beginBlobDeletion(digest("a"), rulesAt(899 + GRACE))).toBeUndefined();
      expect(await store.beginBlobDeletion(digest("a"), rulesAt(900 + GRACE))).toMatchObject({ size: 10 });
    });

    it("keeps a blob that a manifest of another repository needs, and takes the link that none backs", async () => {
      await linkBlob(store, "a", LOCAL);
      await linkBlob(store, "a", CACHED);
      await putManifest(store, "m", { references: [blobRef("a")], tags: ["v1"] });
      expect(await store.beginBlobDeletion(digest("a"), rulesAt(LATER))).toBeUndefined();
      expect(await store.isLinked(CACHED.name, digest("a"))).toBe(true);
      expect(await store.isLinked(LOCAL.name, digest("a"))).toBe(false);
    });

    it("keeps the document of a manifest", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      expect(await store.beginBlobDeletion(digest("m"), rulesAt(LATER))).toBeUndefined();
      expect(await store.isLinked(CACHED.name, digest("m"))).toBe(true);
    });
  });
}

/** More than any time in the suite: everything unbacked is old by then. */
const UNBACKED = 10 * GRACE;
