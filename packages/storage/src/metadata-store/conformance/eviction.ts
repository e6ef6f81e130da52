import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EvictionRules } from "../eviction-store.ts";
import { type MetadataStore, PINNED_FOR_EVER } from "../metadata-store.ts";
import {
  blobRef,
  CACHED,
  collect,
  digest,
  GRACE,
  LOCAL,
  linkBlob,
  manifestRef,
  NOTHING,
  type OpenStore,
  putManifest,
  rulesAt,
} from "./fixtures.ts";

const ELSEWHERE = { name: "quay.io/team/app", upstream: "quay.io" };
const NOW = 50_000;

export function evictionConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const rules = (some: Partial<EvictionRules> = {}): EvictionRules => ({
    now: NOW,
    usedBefore: NOW,
    pinned: false,
    fetching: [],
    ...some,
  });
  const pulled = (name: string, at: number, repository = CACHED) =>
    store.recordPulls([{ repository: repository.name, digest: digest(name), at }]);
  const pin = (reference: string, pinnedUntil: number | undefined) =>
    store.putImage({ reference, owner: "a", platforms: [], now: 0, ...(pinnedUntil ? { pinnedUntil } : {}) });

  /** Evicts until nothing more may go; the names, in order, of those that `names` lists. */
  async function evictAll(names: readonly string[], some: Partial<EvictionRules> = {}, limit = 2): Promise<string[]> {
    const gone: string[] = [];
    for (let cursor: string | null = null; ; ) {
      const step = await store.evictManifest(cursor, rules(some), limit);
      const { evicted } = step;
      if (evicted) gone.push(names.find((name) => digest(name) === evicted.digest) ?? evicted.digest);
      cursor = step.cursor;
      if (cursor === null) return gone;
    }
  }

  describe("eviction", () => {
    it("takes the least recently used manifest, its tags with it, and says which blobs may be free", async () => {
      for (const name of ["layer", "shared"]) await linkBlob(store, name);
      await putManifest(store, "old", { references: [blobRef("layer"), blobRef("shared")], tags: ["a", "b"], now: 1 });
      await putManifest(store, "new", { references: [blobRef("shared")], tags: ["c"], now: 2 });
      const { evicted, cursor } = await store.evictManifest(null, rules(), 10);
      expect({ ...evicted, blobs: [...(evicted?.blobs ?? [])].sort() }).toEqual({
        repository: CACHED.name,
        digest: digest("old"),
        pinned: false,
        usedAt: 1,
        blobs: [digest("old"), digest("layer"), digest("shared")].sort(),
      });
      expect(cursor).not.toBeNull();
      expect(await store.manifest(CACHED.name, digest("old"))).toBeUndefined();
      expect(await store.listTags(CACHED.name, { limit: 10 })).toEqual(["c"]);
      expect(await store.isLinked(CACHED.name, digest("shared"))).toBe(true);
      expect(await collect(store, rulesAt(NOW + GRACE))).toEqual(expect.arrayContaining([digest("layer")]));
      expect(await store.isLinked(CACHED.name, digest("shared"))).toBe(true);
    });

    it("goes by pulls, from whatever repository, and else by when the content came", async () => {
      for (const [index, name] of ["a", "b", "c"].entries())
        await putManifest(store, name, { tags: [name], now: index });
      await putManifest(store, "d", { repository: ELSEWHERE, now: 10 });
      await pulled("a", 30);
      await pulled("b", 20);
      expect(await evictAll(["a", "b", "c", "d"])).toEqual(["c", "d", "b", "a"]);
      expect((await store.usage()).manifests).toBe(0);
    });

    it("never takes what was pushed, be it ever so old", async () => {
      await putManifest(store, "pushed", { repository: LOCAL });
      await putManifest(store, "cached", { now: 1_000 });
      expect(await evictAll(["pushed", "cached"], { pinned: true })).toEqual(["cached"]);
      expect(await store.evictManifest(null, rules({ pinned: true }), 10)).toEqual({ evicted: null, cursor: null });
    });

    it("takes children one by one before their index, and counts their use as the index's", async () => {
      await putManifest(store, "index", {
        references: [manifestRef("amd64"), manifestRef("arm64")],
        tags: ["v1"],
        now: 1,
      });
      await putManifest(store, "nested", { references: [manifestRef("index")], tags: ["all"], now: 1 });
      await putManifest(store, "arm64", { now: 2 });
      await putManifest(store, "amd64", { now: 3 });
      await putManifest(store, "other", { now: 500 });
      await pulled("amd64", 1_000);
      const names = ["index", "nested", "amd64", "arm64", "other"];
      expect((await evictAll(names)).slice(0, 2)).toEqual(["arm64", "other"]);
    });

    it("takes referrers with their subject, and not before; tagged and pinned ones go their own way", async () => {
      await linkBlob(store, "signature-layer");
      const signature = { subject: "m", references: [blobRef("signature-layer")] };
      await putManifest(store, "signature", { ...signature, now: 1 });
      await putManifest(store, "of-signature", { subject: "signature", now: 1 });
      await putManifest(store, "tagged", { subject: "m", tags: ["sig"], now: 1 });
      await putManifest(store, "pinned", { subject: "m", now: 1 });
      await pin(`${CACHED.name}@${digest("pinned")}`, NOW + 1);
      await putManifest(store, "m", { tags: ["v1"], now: 2 });
      const { evicted } = await store.evictManifest(null, rules(), 10);
      expect(evicted?.digest).toBe(digest("m"));
      expect([...(evicted?.blobs ?? [])].sort()).toEqual(
        ["m", "signature", "signature-layer", "of-signature"].map(digest).sort(),
      );
      expect(await store.manifest(CACHED.name, digest("of-signature"))).toBeUndefined();
      expect(await store.manifest(CACHED.name, digest("pinned"))).toBeDefined();
      expect(await evictAll(["tagged", "pinned"])).toEqual(["tagged"]);
    });

    it("leaves alone what is pinned, by tag or digest, itself or an index above it, while the lease runs", async () => {
      await putManifest(store, "child", { now: 1 });
      await putManifest(store, "index", { references: [manifestRef("child")], tags: ["v1"], now: 2 });
      await putManifest(store, "by-digest", { now: 3 });
      await putManifest(store, "owned", { tags: ["owned"], now: 4 });
      await putManifest(store, "expired", { tags: ["expired"], now: 5 });
      await pin(`${CACHED.name}:v1`, NOW + 1);
      await pin(`${CACHED.name}@${digest("by-digest")}`, NOW + 1);
      await pin(`${CACHED.name}:owned`, undefined);
      await pin(`${CACHED.name}:expired`, NOW);
      const names = ["child", "index", "by-digest", "owned", "expired"];
      expect(await evictAll(names)).toEqual(["owned", "expired"]);
      const { evicted } = await store.evictManifest(null, rules({ pinned: true }), 1);
      expect(evicted).toMatchObject({ pinned: true, usedAt: 1 });
      expect((await evictAll(names, { now: NOW + 1 })).length).toBe(2);
    });

    it("never takes what is pinned for ever", async () => {
      await putManifest(store, "child", { now: 1 });
      await putManifest(store, "index", { references: [manifestRef("child")], tags: ["v1"], now: 2 });
      await putManifest(store, "leased", { tags: ["leased"], now: 3 });
      await pin(`${CACHED.name}:v1`, PINNED_FOR_EVER);
      await pin(`${CACHED.name}:leased`, NOW + 1);
      expect(await evictAll(["child", "index", "leased"], { pinned: true })).toEqual(["leased"]);
    });

    it("leaves alone what refers to bytes that are being fetched, itself or through children", async () => {
      await putManifest(store, "child", { references: [blobRef("layer")], now: 1 });
      await putManifest(store, "index", { references: [manifestRef("child")], tags: ["v1"], now: 2 });
      await putManifest(store, "other", { references: [blobRef("other-layer")], now: 3 });
      const names = ["child", "index", "other"];
      expect(await evictAll(names, { fetching: [digest("layer"), digest("unknown")] })).toEqual(["other"]);
      expect((await evictAll(names)).sort()).toEqual(["child", "index"]);
    });

    it("leaves alone what was used a moment ago", async () => {
      for (const [index, name] of ["a", "b", "c"].entries()) await putManifest(store, name, { now: index });
      expect(await evictAll(["a", "b", "c"], { usedBefore: 1 })).toEqual(["a", "b"]);
      expect(await evictAll(["c"])).toEqual(["c"]);
    });

    it("walks on from where it stopped, looking at no more than it is told", async () => {
      for (let index = 0; index < 5; index++)
        await putManifest(store, `m${index}`, { tags: [`v${index}`], now: index });
      for (let index = 0; index < 4; index++) await pin(`${CACHED.name}:v${index}`, NOW + 1);
      const first = await store.evictManifest(null, rules(), 3);
      expect(first.evicted).toBeNull();
      expect((await store.evictManifest(first.cursor, rules(), 3)).evicted?.digest).toBe(digest("m4"));
    });
  });

  describe("bytes of evicted content", () => {
    const needed = { cachedGrace: 100 };
    const free = (name: string, now = NOW) => store.beginBlobDeletion(digest(name), rulesAt(now, needed));

    it("go at once, but for those that others need or that were touched a moment ago", async () => {
      for (const name of ["layer", "shared", "mounted", "touched"]) await linkBlob(store, name);
      await linkBlob(store, "mounted", LOCAL, NOW - GRACE + 1);
      const references = ["layer", "shared", "mounted", "touched"].map(blobRef);
      await putManifest(store, "m", { references, now: 1 });
      await putManifest(store, "other", { references: [blobRef("shared")], now: 2 });
      await store.touchBlobs([{ repository: CACHED.name, digest: digest("touched"), at: NOW - 99 }]);
      await store.evictManifest(null, rules(), 10);
      expect(await free("layer")).toMatchObject({ digest: digest("layer"), size: 10 });
      for (const name of ["shared", "mounted", "touched"]) expect(await free(name)).toBeUndefined();
      expect(await store.isLinked(LOCAL.name, digest("mounted"))).toBe(true);
      expect(await store.isLinked(CACHED.name, digest("mounted"))).toBe(false);
      expect(await free("touched", NOW + 1)).toMatchObject({ size: 10 });
      expect(await free("mounted", NOW + 1)).toMatchObject({ size: 10 });
    });

    it("count as cached as long as no local repository links them", async () => {
      await linkBlob(store, "cached");
      await linkBlob(store, "both");
      await linkBlob(store, "both", LOCAL);
      await linkBlob(store, "pushed", LOCAL);
      expect(await store.usage()).toMatchObject({ blobs: 3, bytes: 30, cachedBytes: 10 });
      await store.unlinkBlob(LOCAL.name, digest("both"), 0);
      expect(await store.usage()).toMatchObject({ bytes: 30, cachedBytes: 20 });
      await store.linkBlob({ repository: LOCAL, digest: digest("cached"), now: 0 });
      expect(await store.usage()).toMatchObject({ bytes: 30, cachedBytes: 10 });
      await store.forgetBlob(digest("cached"));
      await store.forgetBlob(digest("pushed"));
      expect(await store.usage()).toMatchObject({ blobs: 1, bytes: 10, cachedBytes: 10 });
      expect(await store.beginBlobDeletion(digest("both"), rulesAt(GRACE))).toBeDefined();
      expect(await store.usage()).toMatchObject({ bytes: 0, cachedBytes: 0 });
      await store.linkBlob({ repository: LOCAL, digest: digest("both"), size: 7, now: NOW });
      expect(await store.usage()).toMatchObject({ bytes: 7, cachedBytes: 0 });
      await collect(store, rulesAt(NOW + GRACE));
      expect(await store.usage()).toEqual(NOTHING);
    });
  });
}
