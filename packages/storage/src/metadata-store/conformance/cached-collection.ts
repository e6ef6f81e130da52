import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MetadataStore } from "../metadata-store.ts";
import {
  blobRef,
  CACHED,
  collect,
  digest,
  GRACE,
  idOf,
  LOCAL,
  linkBlob,
  manifestRef,
  NOTHING,
  type OpenStore,
  putManifest,
  rulesAt,
  UNUSED_FOR,
} from "./fixtures.ts";

export function cachedCollectionConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const review = (name: string, now: number, rules = {}, repository = CACHED) =>
    store.reviewManifest({ repository: repository.name, digest: digest(name) }, rulesAt(now, rules));
  const pulled = (name: string, at: number, repository = CACHED) =>
    store.recordPulls([{ repository: repository.name, digest: digest(name), at }]);

  describe("collection of cached content", () => {
    it("takes the manifest that lost its tag, its bytes and its blobs, as soon as the grace is over", async () => {
      for (const name of ["config", "layer"]) await linkBlob(store, name);
      await putManifest(store, "m", { references: [blobRef("config"), blobRef("layer")], tags: ["v1"], now: 1 });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      expect(await collect(store, rulesAt(10_000 + GRACE - 1))).toEqual([]);
      const removed = await collect(store, rulesAt(10_000 + GRACE));
      expect(removed[0]).toBe(idOf("m"));
      expect(removed.slice(1).sort()).toEqual([digest("m"), digest("config"), digest("layer")].sort());
      expect(await store.usage()).toEqual(NOTHING);
      expect(await store.hasRepository(CACHED.name)).toBe(false);
    });

    it("takes the old manifest of a moved tag, and keeps what the new one shares with it", async () => {
      for (const name of ["shared", "old-layer", "new-layer"]) await linkBlob(store, name);
      await putManifest(store, "old", { references: [blobRef("shared"), blobRef("old-layer")], tags: ["v1"] });
      await putManifest(store, "new", {
        references: [blobRef("shared"), blobRef("new-layer")],
        tags: ["v1"],
        now: 10_000,
      });
      const removed = await collect(store, rulesAt(10_000 + GRACE));
      expect(removed.sort()).toEqual([idOf("old"), digest("old"), digest("old-layer")].sort());
      expect(await store.isLinked(CACHED.name, digest("shared"))).toBe(true);
    });

    it("takes an index with its children in one go, however long the chain", async () => {
      await linkBlob(store, "layer");
      await putManifest(store, "index", {
        references: [manifestRef("amd64"), manifestRef("arm64")],
        tags: ["v1"],
        now: 1,
      });
      await putManifest(store, "amd64", { references: [blobRef("layer")], now: 2 });
      await pulled("index", 3);
      await pulled("amd64", 3);
      expect(await collect(store, rulesAt(50_000))).toEqual([]);
      await store.deleteTag(CACHED.name, "v1", 60_000);
      const removed = await collect(store, rulesAt(60_000 + GRACE));
      expect(removed.slice(0, 1)).toEqual([idOf("index")]);
      expect(new Set(removed)).toEqual(
        new Set([idOf("index"), idOf("amd64"), digest("index"), digest("amd64"), digest("layer")]),
      );
    });

    it("keeps a child that another index needs, or that has a tag of its own", async () => {
      await putManifest(store, "child", {});
      await putManifest(store, "tagged", { tags: ["child"] });
      await putManifest(store, "one", { references: [manifestRef("child"), manifestRef("tagged")], tags: ["one"] });
      await putManifest(store, "two", { references: [manifestRef("child")], tags: ["two"] });
      await store.deleteTag(CACHED.name, "one", 10_000);
      expect(await collect(store, rulesAt(20_000))).toEqual([idOf("one"), digest("one")]);
      await store.deleteTag(CACHED.name, "two", 30_000);
      expect(new Set(await collect(store, rulesAt(40_000)))).toEqual(
        new Set([idOf("two"), idOf("child"), digest("two"), digest("child")]),
      );
      expect(await store.manifest(CACHED.name, digest("tagged"))).toBeDefined();
    });

    it("lets a child wait that was pulled within the grace, and keeps it while it is pulled by digest", async () => {
      await putManifest(store, "child", {});
      await putManifest(store, "index", { references: [manifestRef("child")], tags: ["v1"] });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await pulled("child", 10_500);
      expect(await collect(store, rulesAt(11_000))).toEqual([idOf("index"), digest("index")]);
      expect(await store.reviewBacklog()).toEqual({ nextAt: 10_500 + UNUSED_FOR, length: 1 });
      expect(await collect(store, rulesAt(10_500 + UNUSED_FOR))).toEqual([idOf("child"), digest("child")]);
    });

    it("keeps what was pulled after it lost its tag, until nobody pulled it for long", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      await pulled("m", 9_000);
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await pulled("m", 10_001);
      expect(await review("m", 20_000)).toBe("postponed");
      expect((await store.reviewBacklog()).nextAt).toBe(10_001 + UNUSED_FOR);
      expect(await review("m", 10_001 + UNUSED_FOR)).toBe("removed");
    });

    it("takes what was pulled by the tag while the tag was being removed", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await store.recordPulls([{ repository: CACHED.name, digest: digest("m"), at: 10_002, byTag: true }]);
      expect(await review("m", 10_000 + GRACE)).toBe("removed");
    });

    it("keeps what was pulled by its tag, then lost that and was pulled by digest", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      const pull = { repository: CACHED.name, digest: digest("m") };
      await store.recordPulls([{ ...pull, at: 9_000, byTag: true }]);
      expect(await store.lastPulledAt(CACHED.name, digest("m"))).toBe(9_000);
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await store.recordPulls([
        { ...pull, at: 10_500 },
        { ...pull, at: 10_800, byTag: true },
      ]);
      expect(await store.lastPulledAt(CACHED.name, digest("m"))).toBe(10_500);
      expect(await review("m", 20_000)).toBe("postponed");
    });

    it("keeps what was only ever asked for by digest while it is pulled", async () => {
      await putManifest(store, "m", { now: 5_000 });
      await pulled("m", 4_990);
      expect(await review("m", 5_000 + GRACE)).toBe("postponed");
      expect(await review("m", 4_990 + UNUSED_FOR)).toBe("removed");
    });

    it("takes what nobody ever named or pulled after the grace", async () => {
      await putManifest(store, "m", { now: 5_000 });
      expect(await review("m", 5_999)).toBe("postponed");
      expect(await review("m", 6_000)).toBe("removed");
      expect(await review("m", 6_000)).toBe("kept");
    });

    it("starts the grace anew when the manifest is put again", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      await store.deleteTag(CACHED.name, "v1", 5_000);
      await putManifest(store, "m", { now: 5_900 });
      expect(await review("m", 6_000)).toBe("postponed");
      expect(await review("m", 6_900)).toBe("removed");
    });

    it("lets a blob wait that a push has just asked for", async () => {
      await linkBlob(store, "layer", CACHED);
      await linkBlob(store, "layer", LOCAL);
      await putManifest(store, "m", { references: [blobRef("layer")], tags: ["v1"] });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await store.touchBlobs([{ repository: LOCAL.name, digest: digest("layer"), at: 10_800 }]);
      expect(await collect(store, rulesAt(11_000))).not.toContain(digest("layer"));
      const push = {
        repository: LOCAL,
        references: [blobRef("layer")],
        tags: ["v1"],
        requireReferences: true,
        now: 11_100,
      };
      expect(await putManifest(store, "pushed", push)).toEqual({ missing: [] });
      expect(await collect(store, rulesAt(50_000))).toEqual([]);
    });
  });

  describe("collection and owners", () => {
    it("keeps a manifest that an owner names by digest, until the last one lets go", async () => {
      const reference = `${CACHED.name}:v1@${digest("m")}`;
      const target = { repository: CACHED.name, digest: digest("m") };
      await putManifest(store, "m", { tags: ["v1"] });
      for (const owner of ["a", "b"]) await store.putImage({ reference, owner, platforms: [], now: 0 });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      expect(await collect(store, rulesAt(50_000))).toEqual([]);
      await store.releaseImage({ reference, owner: "a", target, now: 60_000 });
      expect(await review("m", 70_000)).toBe("kept");
      await store.releaseImage({ reference, owner: "b", target, now: 80_000 });
      expect(await collect(store, rulesAt(80_999))).toEqual([]);
      expect(await collect(store, rulesAt(81_000))).toEqual([idOf("m"), digest("m")]);
    });

    it("is called off by a new owner", async () => {
      await putManifest(store, "m", { now: 0 });
      await store.putImage({ reference: `${CACHED.name}@${digest("m")}`, owner: "a", platforms: [], now: 900 });
      expect(await review("m", 1_000)).toBe("kept");
      expect(await store.reviewBacklog()).toEqual({ nextAt: null, length: 0 });
    });

    it("gives the space back a grace after the release", async () => {
      await linkBlob(store, "layer", CACHED, 0);
      await putManifest(store, "m", { references: [blobRef("layer")], tags: ["1.27"], now: 0 });
      const reference = `${CACHED.name}:1.27`;
      await store.putImage({ reference, owner: "a", platforms: [], now: 0 });
      await pulled("m", 500);
      const target = { repository: CACHED.name, tag: "1.27" };
      await store.releaseImage({ reference, owner: "a", target, now: 600 });
      await collect(store, rulesAt(600 + GRACE));
      expect((await store.usage()).bytes).toBe(0);
    });
  });
}
