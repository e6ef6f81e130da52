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
  type OpenStore,
  putManifest,
  rulesAt,
} from "./fixtures.ts";

export function pushedCollectionConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const review = (name: string, now: number, rules = {}, repository = CACHED) =>
    store.reviewManifest({ repository: repository.name, digest: digest(name) }, rulesAt(now, rules));
  const pulled = (name: string, at: number, repository = CACHED) =>
    store.recordPulls([{ repository: repository.name, digest: digest(name), at }]);

  describe("collection of pushed content", () => {
    const push = { repository: LOCAL };

    it("keeps untagged manifests when the rule says so", async () => {
      await putManifest(store, "m", { ...push, tags: ["v1"] });
      await store.deleteTag(LOCAL.name, "v1", 10_000);
      expect(await collect(store, rulesAt(90_000))).toEqual([]);
      expect(await store.manifest(LOCAL.name, digest("m"))).toBeDefined();
      expect(await store.reviewBacklog()).toEqual({ nextAt: null, length: 0 });
    });

    it("takes them when they were untagged for as long as the rule says, whoever pulled them", async () => {
      await putManifest(store, "m", { ...push, tags: ["v1"] });
      await store.deleteTag(LOCAL.name, "v1", 10_000);
      await pulled("m", 12_000, LOCAL);
      const rules = { untaggedLocal: 5_000 };
      expect(await review("m", 14_999, rules, LOCAL)).toBe("postponed");
      expect((await store.dueReviews(15_000, 10)).map((task) => task.digest)).toContain(digest("m"));
      expect(await review("m", 15_000, rules, LOCAL)).toBe("removed");
    });

    it("forgets that a manifest was untagged when it gets a tag again", async () => {
      await putManifest(store, "m", { ...push, tags: ["v1"] });
      await store.deleteTag(LOCAL.name, "v1", 10_000);
      await putManifest(store, "m", { ...push, tags: ["v2"], now: 10_500 });
      expect(await review("m", 90_000, { untaggedLocal: 0 }, LOCAL)).toBe("kept");
      await store.deleteTag(LOCAL.name, "v2", 91_000);
      expect(await review("m", 91_999, { untaggedLocal: 0 }, LOCAL)).toBe("postponed");
    });

    it("keeps a referrer with its subject, and takes it after the subject, tagged or not", async () => {
      await putManifest(store, "image", { ...push, tags: ["v1"] });
      await putManifest(store, "signature", { ...push, subject: "image" });
      await putManifest(store, "signature-of-signature", { ...push, subject: "signature" });
      expect(await review("signature", 50_000, { untaggedLocal: 0 }, LOCAL)).toBe("kept");
      await store.deleteManifest(LOCAL.name, digest("image"), 60_000);
      const removed = await collect(store, rulesAt(60_000 + GRACE));
      expect(removed).toContain(idOf("signature", LOCAL));
      expect(removed).toContain(idOf("signature-of-signature", LOCAL));
      expect((await store.usage()).blobs).toBe(0);
    });

    it("keeps a referrer whose subject has not come yet", async () => {
      await putManifest(store, "signature", { ...push, subject: "image" });
      expect(await review("signature", 90_000, {}, LOCAL)).toBe("kept");
      await putManifest(store, "image", { ...push, tags: ["v1"], now: 91_000 });
      expect(await review("signature", 99_000, { untaggedLocal: 0 }, LOCAL)).toBe("kept");
    });

    it("takes blobs that no manifest came for, and the deleted manifest's after the grace", async () => {
      await linkBlob(store, "orphan", LOCAL, 0);
      await linkBlob(store, "layer", LOCAL, 0);
      await putManifest(store, "m", { ...push, references: [blobRef("layer")], tags: ["v1"], now: 1 });
      expect(await collect(store, rulesAt(GRACE))).toEqual([digest("orphan")]);
      await store.deleteManifest(LOCAL.name, digest("m"), 10_000);
      expect(await collect(store, rulesAt(10_000 + GRACE - 1))).toEqual([]);
      expect((await collect(store, rulesAt(10_000 + GRACE))).sort()).toEqual([digest("m"), digest("layer")].sort());
    });
  });
}
