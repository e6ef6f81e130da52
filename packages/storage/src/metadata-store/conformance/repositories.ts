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
  OTHER,
  putManifest,
} from "./fixtures.ts";

export function repositoryConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("manifests", () => {
    it("gives back the record, its references in order, and its own bytes as a linked blob", async () => {
      const manifest = {
        digest: digest("m"),
        mediaType: "application/vnd.oci.image.index.v1+json",
        size: 321,
        subject: digest("s"),
        artifactType: "application/vnd.example+type",
        annotations: { "org.example/key": "välue", empty: "" },
      };
      const references = [manifestRef("z"), blobRef("a"), manifestRef("b"), blobRef("a")];
      const put = { repository: CACHED, manifest, references, tags: [], requireReferences: false, now: 5 };
      expect(await store.putManifest(put)).toEqual({ missing: [] });
      expect(await store.manifest(CACHED.name, manifest.digest)).toEqual(manifest);
      expect(await store.references(CACHED.name, manifest.digest)).toEqual(references);
      expect(await store.isLinked(CACHED.name, manifest.digest)).toBe(true);
      expect(await store.blob(manifest.digest)).toMatchObject({ digest: manifest.digest, size: 321 });
    });

    it("knows nothing of what was never put", async () => {
      await putManifest(store, "m");
      expect(await store.manifest(CACHED.name, digest("n"))).toBeUndefined();
      expect(await store.manifest(LOCAL.name, digest("m"))).toBeUndefined();
      expect(await store.references(LOCAL.name, digest("m"))).toEqual([]);
      expect(await store.hasRepository(LOCAL.name)).toBe(false);
      expect(await store.hasRepository(CACHED.name)).toBe(true);
    });

    it("refuses a push whose references are not in the repository, and writes nothing", async () => {
      await linkBlob(store, "here", LOCAL);
      await linkBlob(store, "elsewhere", OTHER);
      const references = [
        blobRef("here"),
        blobRef("elsewhere"),
        manifestRef("child"),
        blobRef("gone"),
        blobRef("gone"),
      ];
      const push = { repository: LOCAL, references, tags: ["v1"], requireReferences: true };
      expect((await putManifest(store, "m", push)).missing).toEqual([
        digest("elsewhere"),
        digest("child"),
        digest("gone"),
      ]);
      expect(await store.manifest(LOCAL.name, digest("m"))).toBeUndefined();
      expect(await store.tag(LOCAL.name, "v1")).toBeUndefined();
      expect(await store.blob(digest("m"))).toBeUndefined();

      await linkBlob(store, "elsewhere", LOCAL);
      await linkBlob(store, "gone", LOCAL);
      await putManifest(store, "child", { repository: LOCAL });
      expect(await putManifest(store, "m", push)).toEqual({ missing: [] });
    });

    it("leaves no repository behind when its first push is refused", async () => {
      const push = { repository: LOCAL, references: [blobRef("gone")], requireReferences: true };
      expect((await putManifest(store, "m", push)).missing).toEqual([digest("gone")]);
      expect(await store.hasRepository(LOCAL.name)).toBe(false);
    });

    it("takes the same manifest again", async () => {
      await putManifest(store, "m", { references: [blobRef("a"), blobRef("b")] });
      await putManifest(store, "m", { references: [blobRef("a"), blobRef("b")], tags: ["v1"] });
      expect(await store.references(CACHED.name, digest("m"))).toHaveLength(2);
      expect((await store.usage()).manifests).toBe(1);
    });

    it("deletes a manifest with its tags", async () => {
      await putManifest(store, "m", { tags: ["v1", "latest"] });
      await putManifest(store, "n", { tags: ["v2"] });
      expect(await store.deleteManifest(CACHED.name, digest("m"), 1)).toBe(true);
      expect(await store.deleteManifest(CACHED.name, digest("m"), 1)).toBe(false);
      expect(await store.deleteManifest("no/where", digest("m"), 1)).toBe(false);
      expect(await store.listTags(CACHED.name, { limit: 10 })).toEqual(["v2"]);
      expect(await store.manifest(CACHED.name, digest("m"))).toBeUndefined();
      expect(await store.references(CACHED.name, digest("m"))).toEqual([]);
    });

    it("never gives a name to two origins", async () => {
      await putManifest(store, "m", { repository: LOCAL });
      const foreign = { name: LOCAL.name, upstream: "docker.io" };
      await expect(putManifest(store, "n", { repository: foreign })).rejects.toMatchObject({ code: "DENIED" });
      expect(await store.manifest(LOCAL.name, digest("n"))).toBeUndefined();
    });

    it("keeps the latest pull of a manifest", async () => {
      await putManifest(store, "m");
      expect(await store.lastPulledAt(CACHED.name, digest("m"))).toBeNull();
      await store.recordPulls([
        { repository: CACHED.name, digest: digest("m"), at: 70 },
        { repository: CACHED.name, digest: digest("m"), at: 50 },
        { repository: "no/where", digest: digest("m"), at: 90 },
        { repository: CACHED.name, digest: digest("absent"), at: 90 },
      ]);
      expect(await store.lastPulledAt(CACHED.name, digest("m"))).toBe(70);
      expect(await store.lastPulledAt(CACHED.name, digest("absent"))).toBeNull();
    });
  });

  describe("tags", () => {
    it("point to the manifest put last", async () => {
      await putManifest(store, "m", { tags: ["v1", "latest"], now: 10 });
      await putManifest(store, "n", { tags: ["latest"], now: 20 });
      expect(await store.tag(CACHED.name, "v1")).toEqual({
        name: "v1",
        digest: digest("m"),
        checkedAt: 10,
        staleSince: null,
      });
      expect(await store.tag(CACHED.name, "latest")).toMatchObject({ digest: digest("n"), checkedAt: 20 });
      expect(await store.tag(LOCAL.name, "latest")).toBeUndefined();
    });

    it("remember when upstream confirmed them, or could not", async () => {
      await putManifest(store, "m", { tags: ["v1"], now: 10 });
      await store.markTag(CACHED.name, "v1", { staleSince: 30 });
      expect(await store.tag(CACHED.name, "v1")).toMatchObject({ checkedAt: 10, staleSince: 30 });
      await store.markTag(CACHED.name, "v1", { checkedAt: 40, staleSince: null });
      expect(await store.tag(CACHED.name, "v1")).toMatchObject({ checkedAt: 40, staleSince: null });
      await store.markTag(CACHED.name, "absent", { checkedAt: 40, staleSince: null });
      expect(await store.tag(CACHED.name, "absent")).toBeUndefined();
    });

    it("are not stale any more when they are put again", async () => {
      await putManifest(store, "m", { tags: ["v1"], now: 10 });
      await store.markTag(CACHED.name, "v1", { staleSince: 30 });
      await putManifest(store, "m", { tags: ["v1"], now: 50 });
      expect(await store.tag(CACHED.name, "v1")).toMatchObject({ checkedAt: 50, staleSince: null });
    });

    it("are deleted alone", async () => {
      await putManifest(store, "m", { tags: ["v1", "v2"] });
      expect(await store.deleteTag(CACHED.name, "v1", 1)).toBe(true);
      expect(await store.deleteTag(CACHED.name, "v1", 1)).toBe(false);
      expect(await store.deleteTag("no/where", "v1", 1)).toBe(false);
      expect(await store.tag(CACHED.name, "v2")).toMatchObject({ digest: digest("m") });
    });

    it("are listed by page, in lexical order of bytes", async () => {
      const tags = ["10", "9", "B", "a", "a-1", "a.1", "a_1", "b"];
      await putManifest(store, "m", { tags: [...tags].reverse() });
      await putManifest(store, "x", { tags: ["unrelated"], repository: LOCAL });
      const pages: string[][] = [];
      for (let last: string | undefined; ; ) {
        const page = await store.listTags(CACHED.name, last === undefined ? { limit: 3 } : { last, limit: 3 });
        if (page.length === 0) break;
        pages.push(page);
        last = page.at(-1);
      }
      expect(pages.map((page) => page.length)).toEqual([3, 3, 2]);
      expect(pages.flat()).toEqual([...tags].sort());
      expect(await store.listTags(CACHED.name, { limit: 0 })).toEqual([]);
      expect(await store.listTags(CACHED.name, { last: "aa", limit: 10 })).toEqual(["b"]);
    });
  });

  describe("repositories", () => {
    it("are listed while they hold a manifest", async () => {
      await putManifest(store, "m", { repository: OTHER });
      await putManifest(store, "n", { repository: CACHED });
      await linkBlob(store, "only-a-blob", LOCAL);
      expect(await store.listRepositories({ limit: 10 })).toEqual([CACHED, OTHER]);
      expect(await store.listRepositories({ limit: 1 })).toEqual([CACHED]);
      expect(await store.listRepositories({ last: CACHED.name, limit: 10 })).toEqual([OTHER]);
      expect((await store.usage()).repositories).toBe(2);
      await store.deleteManifest(OTHER.name, digest("m"), 1);
      expect(await store.listRepositories({ limit: 10 })).toEqual([CACHED]);
      expect((await store.usage()).repositories).toBe(1);
    });
  });
}
