import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MetadataStore } from "../metadata-store.ts";
import { CACHED, digest, LOCAL, type OpenStore, putManifest } from "./fixtures.ts";

export function imageConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const reference = `${CACHED.name}:1.27`;
  const put = (owner: string, pinnedUntil?: number, platforms = ["linux/amd64"], name = reference) =>
    store.putImage({
      reference: name,
      owner,
      platforms,
      now: 0,
      ...(pinnedUntil === undefined ? {} : { pinnedUntil }),
    });
  const release = (owner: string, target: { tag?: string; digest?: ReturnType<typeof digest> } = { tag: "1.27" }) =>
    store.releaseImage({ reference, owner, target: { repository: CACHED.name, ...target }, now: 100 });

  describe("images", () => {
    it("are what all their owners want together", async () => {
      expect(await store.image(reference)).toBeUndefined();
      await put("cluster-a", 500, ["linux/arm64"]);
      await put("cluster-b");
      expect(await store.image(reference)).toEqual({
        reference,
        owners: ["cluster-a", "cluster-b"],
        pinnedUntil: 500,
        platforms: ["linux/amd64", "linux/arm64"],
      });
    });

    it("keep a lease when the owner comes again without one, and take a new one", async () => {
      await put("cluster-a", 500);
      await put("cluster-a");
      expect((await store.image(reference))?.pinnedUntil).toBe(500);
      await put("cluster-a", 900);
      await put("cluster-b", 700);
      expect((await store.image(reference))?.pinnedUntil).toBe(900);
    });

    it("are listed by page and by owner, in lexical order", async () => {
      for (const [name, owner] of [
        ["c:1", "a"],
        ["a:1", "b"],
        ["b:1", "a"],
        ["b:1", "b"],
      ] as const) {
        await put(owner, undefined, [], name);
      }
      const names = async (page: { owner?: string; last?: string; limit: number }): Promise<string[]> =>
        (await store.listImages(page)).map((image) => image.reference);
      expect(await names({ limit: 10 })).toEqual(["a:1", "b:1", "c:1"]);
      expect(await names({ limit: 2 })).toEqual(["a:1", "b:1"]);
      expect(await names({ last: "b:1", limit: 2 })).toEqual(["c:1"]);
      expect(await names({ owner: "a", limit: 10 })).toEqual(["b:1", "c:1"]);
      expect(await names({ owner: "a", last: "b:1", limit: 10 })).toEqual(["c:1"]);
      expect(await names({ owner: "nobody", limit: 10 })).toEqual([]);
      expect((await store.listImages({ owner: "a", limit: 1 }))[0]?.owners).toEqual(["a", "b"]);
    });

    it("stay with the owners that remain, with their lease and platforms", async () => {
      await putManifest(store, "m", { tags: ["1.27"] });
      await put("cluster-a", 900, ["linux/arm64"]);
      await put("cluster-b", 500);
      expect(await release("cluster-a")).toBe(true);
      expect(await store.image(reference)).toEqual({
        reference,
        owners: ["cluster-b"],
        pinnedUntil: 500,
        platforms: ["linux/amd64"],
      });
      expect(await store.tag(CACHED.name, "1.27")).toMatchObject({ digest: digest("m") });
    });

    it("take their tag along with the last owner, and the manifest is reviewed after the grace", async () => {
      await putManifest(store, "m", { tags: ["1.27"] });
      await put("cluster-a");
      expect(await release("cluster-b")).toBe(false);
      expect(await release("cluster-a")).toBe(true);
      expect(await release("cluster-a")).toBe(false);
      expect(await store.image(reference)).toBeUndefined();
      expect(await store.tag(CACHED.name, "1.27")).toBeUndefined();
      expect(await store.manifest(CACHED.name, digest("m"))).toBeDefined();
      expect(await store.dueReviews(1_099, 10)).toEqual([]);
      expect(await store.dueReviews(1_100, 10)).toMatchObject([
        { kind: "manifest", repository: CACHED.name, digest: digest("m") },
      ]);
    });

    it("never take a local tag along", async () => {
      await putManifest(store, "m", { repository: LOCAL, tags: ["v1"] });
      await put("cluster-a", undefined, [], "localhost:7439/team/app:v1");
      const target = { repository: LOCAL.name, tag: "v1" };
      const image = { reference: "localhost:7439/team/app:v1", owner: "cluster-a", target, now: 100 };
      expect(await store.releaseImage(image)).toBe(true);
      expect(await store.tag(LOCAL.name, "v1")).toMatchObject({ digest: digest("m") });
    });

    it("may be released although their tag never came", async () => {
      await put("cluster-a");
      expect(await release("cluster-a")).toBe(true);
      expect(await store.image(reference)).toBeUndefined();
    });

    it("by digest lose only the pin", async () => {
      await putManifest(store, "m", { tags: ["1.27"] });
      const pinned = `${CACHED.name}@${digest("m")}`;
      await put("cluster-a", 900, [], pinned);
      const target = { repository: CACHED.name, digest: digest("m") };
      expect(await store.releaseImage({ reference: pinned, owner: "cluster-a", target, now: 100 })).toBe(true);
      expect(await store.tag(CACHED.name, "1.27")).toMatchObject({ digest: digest("m") });
      expect(await store.image(pinned)).toBeUndefined();
    });
  });
}
