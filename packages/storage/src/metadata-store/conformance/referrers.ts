import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ManifestRecord, MetadataStore } from "../metadata-store.ts";
import {
  blobRef,
  CACHED,
  collect,
  digest,
  GRACE,
  LOCAL,
  linkBlob,
  manifestRef,
  type OpenStore,
  OTHER,
  putManifest,
  rulesAt,
} from "./fixtures.ts";

export function referrersConformance(open: OpenStore): void {
  let store: MetadataStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const put = (name: string, artifactType: string | null, subject = "image") => {
    const record: ManifestRecord = {
      digest: digest(name),
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      size: 100,
      subject: digest(subject),
      artifactType,
      annotations: { name },
    };
    const rest = { references: [], tags: [], requireReferences: true, now: 0 };
    return store.putManifest({ repository: LOCAL, manifest: record, ...rest });
  };
  const list = async (page: { last?: string; limit: number; artifactType?: string }, subject = "image") =>
    (await store.referrers(LOCAL.name, digest(subject), page)).map(({ annotations }) => annotations.name);
  const inOrder = (names: string[]) => names.toSorted((a, b) => (digest(a) < digest(b) ? -1 : 1));

  describe("referrers", () => {
    it("are listed by digest, in pages, before and after their subject is there", async () => {
      const names = ["a", "b", "c", "d", "e"];
      for (const name of names) await put(name, "type/x");
      await put("elsewhere", "type/x", "another image");
      expect(await list({ limit: 10 })).toEqual(inOrder(names));
      await putManifest(store, "image", { repository: LOCAL, tags: ["v1"] });
      const first = await list({ limit: 2 });
      expect(first).toEqual(inOrder(names).slice(0, 2));
      expect(await list({ limit: 10, last: digest(first.at(-1) ?? "") })).toEqual(inOrder(names).slice(2));
      expect(await list({ limit: 0 })).toEqual([]);
      expect(await store.referrers(OTHER.name, digest("image"), { limit: 10 })).toEqual([]);
    });

    it("are filtered by artifact type, a missing one is no match", async () => {
      await put("sbom-1", "type/sbom");
      await put("sbom-2", "type/sbom");
      await put("signature", "type/signature");
      await put("untyped", null);
      const sboms = inOrder(["sbom-1", "sbom-2"]);
      expect(await list({ limit: 10, artifactType: "type/sbom" })).toEqual(sboms);
      expect(await list({ limit: 10, artifactType: "type/sbom", last: digest(sboms[0] ?? "") })).toEqual([sboms[1]]);
      expect(await list({ limit: 10, artifactType: "" })).toEqual([]);
    });

    it("are gone once deleted", async () => {
      await put("a", null);
      await put("b", null);
      expect(await store.deleteManifest(LOCAL.name, digest("a"), 1)).toBe(true);
      expect(await list({ limit: 10 })).toEqual(["b"]);
    });
  });

  describe("an upstream's answer about referrers", () => {
    const answer = { document: '{"manifests":[]}', checkedAt: 5 };

    it("is kept beside the manifest, replaced, and goes with it", async () => {
      expect(await store.putReferrersAnswer(CACHED.name, digest("image"), answer)).toBe(false);
      await putManifest(store, "image", { tags: ["v1"] });
      expect(await store.referrersAnswer(CACHED.name, digest("image"))).toBeUndefined();
      expect(await store.putReferrersAnswer(CACHED.name, digest("image"), answer)).toBe(true);
      expect(await store.putReferrersAnswer(CACHED.name, digest("image"), { ...answer, checkedAt: 7 })).toBe(true);
      await putManifest(store, "image", { tags: ["v2"], now: 8 });
      expect(await store.referrersAnswer(CACHED.name, digest("image"))).toEqual({ ...answer, checkedAt: 7 });
      expect(await store.referrersAnswer(LOCAL.name, digest("image"))).toBeUndefined();
      await store.deleteManifest(CACHED.name, digest("image"), 9);
      await putManifest(store, "image", { now: 10 });
      expect(await store.referrersAnswer(CACHED.name, digest("image"))).toBeUndefined();
    });
  });

  describe("optional references", () => {
    it("may be missing on a push, and keep what is there or comes later", async () => {
      await linkBlob(store, "foreign", LOCAL);
      const references = [
        { ...blobRef("foreign"), optional: true },
        { ...blobRef("late"), optional: true },
        { ...manifestRef("child"), optional: true },
      ];
      const push = { repository: LOCAL, references, tags: ["v1"], requireReferences: true };
      expect(await putManifest(store, "image", push)).toEqual({ missing: [] });
      await linkBlob(store, "late", LOCAL, 1);
      await putManifest(store, "child", { repository: LOCAL, now: 1 });
      const rules = rulesAt(GRACE * 10, { untaggedLocal: 1 });
      expect(await collect(store, rules)).toEqual([]);
      for (const name of ["foreign", "late"]) expect(await store.isLinked(LOCAL.name, digest(name))).toBe(true);
      expect(await store.manifest(LOCAL.name, digest("child"))).toBeDefined();

      await store.deleteManifest(LOCAL.name, digest("image"), GRACE * 20);
      await collect(store, rulesAt(GRACE * 100, { untaggedLocal: 1 }));
      for (const name of ["foreign", "late"]) expect(await store.blob(digest(name))).toBeUndefined();
    });
  });
}
