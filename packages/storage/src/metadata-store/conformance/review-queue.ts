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
  type OpenStore,
  putManifest,
  rulesAt,
  sweepAll,
  UNUSED_FOR,
} from "./fixtures.ts";

const id = (name: string, repository = CACHED): string => `${repository.name}@${digest(name)}`;

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
        { kind: "blob", digest: digest("a") },
        { kind: "blob", digest: digest("b") },
      ]);
      expect(due).toContainEqual({ kind: "manifest", repository: CACHED.name, digest: digest("m") });
      expect(await store.dueReviews(30 + GRACE, 1)).toEqual([{ kind: "blob", digest: digest("a") }]);
      expect(await store.dueReviews(9 + GRACE, 10)).toEqual([]);
      expect((await store.reviewBacklog()).nextAt).toBe(10 + GRACE);
    });

    it("moves a task to the newest event", async () => {
      await linkBlob(store, "a", LOCAL, 10);
      await linkBlob(store, "a", LOCAL, 700);
      expect(await store.reviewBacklog()).toEqual({ nextAt: 700 + GRACE, length: 1 });
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
      expect(await collect(store, rulesAt(UNUSED_FOR + GRACE))).toContain(id("unused"));
    });

    it("ends at once on an empty store", async () => {
      expect(await sweepAll(store, rulesAt(0), 100)).toBe(3);
    });
  });
}
