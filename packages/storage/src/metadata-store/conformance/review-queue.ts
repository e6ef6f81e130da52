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
  type OpenStore,
  putManifest,
  rulesAt,
  sweepAll,
  UNUSED_FOR,
} from "./fixtures.ts";

export function reviewQueueConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const pulled = (name: string, at: number, repository = CACHED) =>
    store.recordPulls([{ repository: repository.name, digest: digest(name), at }]);

  describe("review queue", () => {
    it("gives the oldest tasks first, at most as many as asked for", async () => {
      await linkBlob(store, "b", LOCAL, 20);
      await linkBlob(store, "a", LOCAL, 10);
      await putManifest(store, "m", { now: 30 });
      const due = await store.dueReviews(30 + GRACE, 10);
      expect(due.slice(0, 2)).toEqual([
        { kind: "blob", digest: digest("a"), reason: "blob_linked" },
        { kind: "blob", digest: digest("b"), reason: "blob_linked" },
      ]);
      const task = { kind: "manifest", repository: CACHED.name, digest: digest("m"), reason: "manifest_put" };
      expect(due).toContainEqual(task);
      expect(await store.dueReviews(30 + GRACE, 1)).toMatchObject([{ digest: digest("a") }]);
      expect(await store.dueReviews(9 + GRACE, 10)).toEqual([]);
      expect((await store.reviewBacklog()).nextAt).toBe(10 + GRACE);
    });

    it("puts a task off that cannot be done now, with its reason, whatever it is about", async () => {
      await linkBlob(store, "a", LOCAL, 10);
      await putManifest(store, "m", { now: 20 });
      for (const task of await store.dueReviews(50 + GRACE, 10)) await store.postponeReview(task, 9_000);
      expect(await store.dueReviews(8_999, 10)).toEqual([]);
      const due = await store.dueReviews(9_000, 10);
      expect(due.map(({ kind, reason }) => `${kind} ${reason}`).sort()).toEqual([
        "blob blob_linked",
        "manifest manifest_put",
      ]);
      await store.forgetBlob(digest("a"));
      await store.postponeReview({ kind: "blob", digest: digest("a"), reason: "blob_linked" }, 9_999);
      expect(await store.reviewBacklog()).toEqual({ nextAt: 9_000, length: 1 });
    });

    it("keeps the reason when the content is looked at too early", async () => {
      await putManifest(store, "m", { tags: ["v1"] });
      await store.deleteTag(CACHED.name, "v1", 10_000);
      await store.reviewManifest({ repository: CACHED.name, digest: digest("m") }, rulesAt(10_100));
      expect(await store.dueReviews(10_000 + GRACE, 1)).toMatchObject([{ reason: "tag_deleted" }]);
    });

    it("moves a task to the newest event", async () => {
      await linkBlob(store, "a", LOCAL, 10);
      await linkBlob(store, "a", LOCAL, 700);
      expect(await store.reviewBacklog()).toEqual({ nextAt: 700 + GRACE, length: 1 });
    });
  });

  describe("preview", () => {
    it("tells what a full pass would take, and takes nothing", async () => {
      for (const name of ["shared", "layer"]) await linkBlob(store, name);
      await putManifest(store, "keep", { references: [blobRef("shared")], tags: ["keep"], now: 60_000 });
      await putManifest(store, "child", { references: [blobRef("shared"), blobRef("layer")], now: 1 });
      await putManifest(store, "index", { references: [manifestRef("child")], tags: ["v1"], now: 2 });
      await putManifest(store, "unused", { tags: ["unused"], now: 3 });
      await store.deleteTag(CACHED.name, "v1", 60_000);
      const before = [await store.usage(), await store.reviewBacklog()];
      const rules = rulesAt(UNUSED_FOR + 3);
      const { doomed, truncated } = await store.previewCollection(rules, 100);
      expect(truncated).toBe(false);
      const repository = CACHED.name;
      const expected = [
        { kind: "tag", repository, tag: "unused", reason: "unused" },
        { kind: "manifest", repository, digest: digest("index"), reason: "tag_deleted" },
        { kind: "manifest", repository, digest: digest("child"), reason: "manifest_deleted" },
        { kind: "blob", digest: digest("index"), size: 100, reason: "manifest_deleted" },
        { kind: "blob", digest: digest("child"), size: 100, reason: "manifest_deleted" },
        { kind: "blob", digest: digest("layer"), size: 10, reason: "manifest_deleted" },
      ];
      expect(doomed).toHaveLength(expected.length);
      expect(doomed).toEqual(expect.arrayContaining(expected));
      expect([await store.usage(), await store.reviewBacklog()]).toEqual(before);
      expect(await store.tag(CACHED.name, "unused")).toBeDefined();

      expect(await store.previewCollection(rules, 2)).toEqual({ doomed: doomed.slice(0, 2), truncated: true });
      await sweepAll(store, rules);
      const removed = doomed.flatMap((each) => (each.kind === "blob" ? [each.digest as string] : []));
      expect(await collect(store, rules)).toEqual(expect.arrayContaining(removed));
    });
  });

  describe("sweep", () => {
    it("queues what events did not, page by page, and leaves the rest alone", async () => {
      await linkBlob(store, "layer");
      for (let index = 0; index < 10; index++) {
        await putManifest(store, `keep-${index}`, { references: [blobRef("layer")], tags: [`v${index}`] });
        await pulled(`keep-${index}`, 40_000);
        await putManifest(store, `drop-${index}`, { repository: LOCAL });
      }
      await collect(store, rulesAt(50_000));
      expect(await store.reviewBacklog()).toMatchObject({ length: 0 });
      const rules = rulesAt(50_000, { untaggedLocal: 1_000 });
      expect(await sweepAll(store, rules, 3)).toBeGreaterThan(10);
      expect(await store.reviewBacklog()).toMatchObject({ length: 10 });
      const removed = await collect(store, rules);
      expect(removed.filter((name) => name.startsWith(LOCAL.name))).toHaveLength(10);
      expect((await store.usage()).manifests).toBe(10);
    });

    it("drops cached tags that nobody owns and nobody pulled for long", async () => {
      await putManifest(store, "unused", { tags: ["unused"] });
      await putManifest(store, "owned", { tags: ["owned"] });
      await putManifest(store, "pulled", { tags: ["pulled"] });
      await putManifest(store, "fresh", { tags: ["fresh"], now: 60_000 });
      await putManifest(store, "local", { tags: ["local"], repository: LOCAL });
      await store.putImage({ reference: `${CACHED.name}:owned`, owner: "a", platforms: [], now: 0 });
      await pulled("pulled", 50_000);
      await sweepAll(store, rulesAt(UNUSED_FOR - 1));
      expect(await store.listTags(CACHED.name, { limit: 10 })).toHaveLength(4);
      await sweepAll(store, rulesAt(UNUSED_FOR));
      expect(await store.listTags(CACHED.name, { limit: 10 })).toEqual(["fresh", "owned", "pulled"]);
      expect(await store.listTags(LOCAL.name, { limit: 10 })).toEqual(["local"]);
      expect(await collect(store, rulesAt(UNUSED_FOR + GRACE))).toContain(idOf("unused"));
    });

    it("ends at once on an empty store", async () => {
      expect(await sweepAll(store, rulesAt(0), 100)).toBe(3);
    });
  });
}
