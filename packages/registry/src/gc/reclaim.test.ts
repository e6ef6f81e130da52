import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { RepositoryKey } from "@cache-registry/storage/metadata-store/metadata-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createReclaim, type Reclaim } from "./reclaim.ts";

const LOCAL: RepositoryKey = { name: "team/app", upstream: null };
const CACHED: RepositoryKey = { name: "example.com/library/app", upstream: "example.com" };
const rules = { now: 10_000, grace: 0, untaggedLocal: "keep" as const, unusedFor: 0 };

describe("with a database that is older than the bytes", () => {
  let stores: TestStores;
  let restored: boolean;
  let reclaim: Reclaim;

  beforeEach(async () => {
    stores = await openTestStores();
    restored = true;
    reclaim = createReclaim({ ...stores, pulls: { flush: async () => {} }, keepOrphans: async () => restored });
  });
  afterEach(() => stores.dispose());

  async function hold(text: string, ...repositories: RepositoryKey[]): Promise<Digest> {
    const bytes = Buffer.from(text);
    const digest = digestOfBytes(bytes);
    const writer = await stores.blobs.create();
    await writer.write(bytes);
    await writer.commit(digest);
    await writer.close();
    for (const repository of repositories) {
      await stores.metadata.linkBlob({ repository, digest, size: bytes.length, now: 0 });
    }
    return digest;
  }
  const due = async (now: number) => (await stores.metadata.dueReviews(now, 10)).length;

  it("keeps what was pushed: its image may be newer than the database", async () => {
    const digest = await hold("a layer", LOCAL, CACHED);
    expect(await reclaim.blob(digest, rules)).toBeUndefined();
    expect(await stores.blobs.stat(digest)).toBeDefined();
    // Not looked at over and over, and not forgotten.
    expect([await due(rules.now), await due(rules.now + 3_600_000)]).toEqual([0, 1]);
    restored = false;
    expect(await reclaim.blob(digest, rules)).toBe("a layer".length);
    expect(await stores.blobs.stat(digest)).toBeUndefined();
  });

  it("keeps what was being removed: it may have been pushed anew", async () => {
    const digest = await hold("removed and pushed anew", LOCAL);
    expect(await stores.metadata.beginBlobDeletion(digest, rules)).toBeDefined();
    expect(await reclaim.finishInterrupted()).toBe(0);
    expect(await reclaim.blob(digest, rules)).toBeUndefined();
    expect(await stores.blobs.stat(digest)).toBeDefined();
    restored = false;
    expect(await reclaim.finishInterrupted()).toBe(1);
    expect(await stores.blobs.stat(digest)).toBeUndefined();
  });

  it("removes what is cached only: the disk must not fill up meanwhile", async () => {
    const digest = await hold("cached", CACHED);
    expect(await reclaim.blob(digest, rules)).toBe("cached".length);
  });
});
