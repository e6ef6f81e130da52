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
  putManifest,
  rulesAt,
} from "./fixtures.ts";

export function raceConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("races", () => {
    it("never leave a manifest whose blobs are gone", async () => {
      for (let round = 0; round < 40; round++) {
        const layer = `layer-${round}`;
        const now = round * 10_000;
        await linkBlob(store, layer, LOCAL, now);
        const push = { repository: LOCAL, references: [blobRef(layer)], requireReferences: true, now: now + 2 * GRACE };
        const put = () => putManifest(store, `m-${round}`, push);
        const begin = () => store.beginBlobDeletion(digest(layer), rulesAt(now + 2 * GRACE));
        const early = round % 2 === 0 ? begin() : undefined;
        const putting = put();
        const [{ missing }] = await Promise.all([putting, early ?? begin()]);
        const stored = await store.manifest(LOCAL.name, digest(`m-${round}`));
        const live = await store.blob(digest(layer));
        expect(stored === undefined).toBe(live === undefined);
        expect(missing).toEqual(stored ? [] : [digest(layer)]);
      }
    });

    it("never collect a manifest that gets a tag at the same moment", async () => {
      for (let round = 0; round < 40; round++) {
        const name = `m-${round}`;
        const now = round * 10_000;
        await putManifest(store, name, { now });
        const put = () => putManifest(store, name, { tags: [name], now: now + 2 * GRACE });
        const review = () =>
          store.reviewManifest({ repository: CACHED.name, digest: digest(name) }, rulesAt(now + 2 * GRACE));
        await Promise.all(round % 2 === 0 ? [put(), review()] : [review(), put()]);
        expect(await store.manifest(CACHED.name, digest(name))).toBeDefined();
        expect(await store.tag(CACHED.name, name)).toMatchObject({ digest: digest(name) });
      }
    });

    it("give one winner, and every count right, whatever comes at once", async () => {
      const names = Array.from({ length: 100 }, (_, index) => `m-${index}`);
      await Promise.all(
        names.flatMap((name, index) => [
          linkBlob(store, "shared", index % 2 === 0 ? LOCAL : CACHED),
          linkBlob(store, `layer-${index}`),
          putManifest(store, name, {
            references: [blobRef("shared"), blobRef(`layer-${index}`)],
            tags: ["latest", name],
          }),
        ]),
      );
      expect(await store.usage()).toMatchObject({
        blobs: 201,
        bytes: 100 * 100 + 101 * 10,
        manifests: 100,
        repositories: 1,
      });
      const winner = (await store.tag(CACHED.name, "latest"))?.digest;
      expect(names.map(digest)).toContain(winner);

      const deletions = await Promise.all(
        names.flatMap((name) => [
          store.deleteManifest(CACHED.name, digest(name), 10),
          store.deleteManifest(CACHED.name, digest(name), 10),
        ]),
      );
      expect(deletions.filter(Boolean)).toHaveLength(100);
      await collect(store, rulesAt(10 + GRACE));
      expect(await store.usage()).toEqual(NOTHING);
      expect(await store.listTags(CACHED.name, { limit: 10 })).toEqual([]);
    });

    it("read what was written before", async () => {
      await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          await putManifest(store, `m-${index}`, { tags: [`t-${index}`] });
          expect(await store.tag(CACHED.name, `t-${index}`)).toMatchObject({ digest: digest(`m-${index}`) });
        }),
      );
    });
  });
}
