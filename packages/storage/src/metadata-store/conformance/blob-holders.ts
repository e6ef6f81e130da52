import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MetadataStore } from "../metadata-store.ts";
import {
  blobRef,
  CACHED,
  digest,
  LOCAL,
  linkBlob,
  manifestRef,
  type OpenStore,
  putManifest,
  rulesAt,
} from "./fixtures.ts";

export function blobHolderConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("blobs for maintenance", () => {
    it("lists live blobs by digest, page by page", async () => {
      const names = ["one", "two", "three", "four", "going"];
      for (const name of names) await linkBlob(store, name);
      await store.unlinkBlob(CACHED.name, digest("going"), 0);
      expect(await store.beginBlobDeletion(digest("going"), rulesAt(10_000))).toBeDefined();
      const expected = names.slice(0, 4).map(digest).sort();
      const first = await store.listBlobs({ limit: 3 });
      expect(first).toEqual(expected.slice(0, 3).map((each) => expect.objectContaining({ digest: each, size: 10 })));
      const last = first.at(-1)?.digest ?? "";
      expect((await store.listBlobs({ last, limit: 3 })).map((blob) => blob.digest)).toEqual(expected.slice(3));
      expect(await store.listBlobs({ limit: 0 })).toEqual([]);
    });

    it("names the repositories that hold a blob, with the tags of their images, through indexes", async () => {
      for (const repository of [LOCAL, CACHED]) await linkBlob(store, "layer", repository);
      await putManifest(store, "image", { references: [blobRef("layer")] });
      await putManifest(store, "index", { references: [manifestRef("image")], tags: ["v1", "latest"] });
      await putManifest(store, "outer", { references: [manifestRef("index"), manifestRef("image")], tags: ["all"] });
      await putManifest(store, "other", { references: [blobRef("another")], tags: ["other"] });
      await putManifest(store, "alone", { repository: LOCAL, references: [blobRef("layer")] });
      expect(await store.blobHolders(digest("layer"))).toEqual([
        { repository: CACHED, tags: ["all", "latest", "v1"] },
        { repository: LOCAL, tags: [] },
      ]);
      expect(await store.blobHolders(digest("index"))).toEqual([{ repository: CACHED, tags: ["all", "latest", "v1"] }]);
      expect(await store.blobHolders(digest("unknown"))).toEqual([]);
    });
  });
}
