import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { silentLogger } from "@cache-registry/runtime/logger";
import type { RepositoryKey } from "@cache-registry/storage/metadata-store/metadata-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createManifestDocuments, type ManifestDocuments } from "../content/manifest-documents.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createHealBlob, type Refetch } from "./heal-blob.ts";
import { createScrub, type Scrub } from "./scrub.ts";

const LOCAL: RepositoryKey = { name: "team/app", upstream: null };
const CACHED: RepositoryKey = { name: "example.com/library/app", upstream: "example.com" };
const logger = silentLogger();
let stores: TestStores;
let documents: ManifestDocuments;

beforeEach(async () => {
  stores = await openTestStores();
  documents = createManifestDocuments(stores.blobs, stores.digestLock);
});
afterEach(() => stores.dispose());

async function put(digest: Digest, bytes: Buffer): Promise<void> {
  const writer = await stores.blobs.create();
  await writer.write(bytes);
  await writer.commit(digest);
  await writer.close();
}

/** A blob that is held, with these bytes at rest. */
async function hold(text: string, { at = text, by = [LOCAL] }: { at?: string | null; by?: RepositoryKey[] } = {}) {
  const digest = digestOfBytes(Buffer.from(text));
  if (at !== null) await put(digest, Buffer.from(at));
  for (const repository of by) {
    await stores.metadata.linkBlob({ repository, digest, size: Buffer.byteLength(text), now: 0 });
  }
  return digest;
}

function scrubOf({ refetch, airGapped = false }: { refetch?: Refetch; airGapped?: boolean } = {}): Scrub {
  const heal = createHealBlob({ ...stores, documents, refetch, airGapped, logger });
  return createScrub({ ...stores, heal, logger });
}

async function scrubbed(scrub: Scrub, after?: string) {
  scrub.start({ after });
  return scrub.finished();
}

describe("scrub", () => {
  it("finds nothing where all is good", async () => {
    for (let index = 0; index < 5; index += 1) await hold(`blob ${index}`);
    const status = await scrubbed(scrubOf());
    expect(status).toMatchObject({ state: "done", blobs: 5, checked: 5, checkedBytes: 30, bytes: 30, findings: [] });
  });

  it("names what was pushed and is lost, changed, short and missing, and forgets it", async () => {
    const digests = [
      await hold("changed", { at: "CHANGED" }),
      await hold("short", { at: "shor" }),
      await hold("missing", { at: null }),
    ];
    await hold("good");
    const { findings, found, state } = await scrubbed(scrubOf());
    expect([state, found]).toEqual(["done", { restored: 0, refetched: 0, forgotten: 0, lost: 3 }]);
    expect(new Set(findings.map(({ digest }) => digest))).toEqual(new Set(digests));
    expect(findings.find(({ digest }) => digest === digests[2])).toMatchObject({
      problem: "missing",
      images: ["team/app"],
    });
    for (const digest of digests) {
      expect(await stores.blobs.stat(digest)).toBeUndefined();
      expect(await stores.metadata.blob(digest)).toBeUndefined();
    }
  });

  it("fetches cached content again, for everybody who held it", async () => {
    const digest = await hold("cached", { at: "broken", by: [LOCAL, CACHED] });
    const asked: string[] = [];
    const refetch: Refetch = async ({ name, path }, wanted) => {
      asked.push(`${name} ${path}`);
      expect(await stores.blobs.stat(wanted)).toBeUndefined();
      await hold("cached", { by: [CACHED] });
    };
    const { findings } = await scrubbed(scrubOf({ refetch }));
    expect(findings).toMatchObject([{ digest, action: "refetched", images: [CACHED.name, LOCAL.name] }]);
    expect(asked).toEqual([`${CACHED.name} library/app`]);
    expect(await stores.metadata.isLinked(LOCAL.name, digest)).toBe(true);
    expect((await scrubbed(scrubOf())).findings).toEqual([]);
  });

  it("leaves cached content to the next pull when its upstream fails, unless there will be none", async () => {
    await hold("one", { at: "1", by: [CACHED] });
    const refetch = () => Promise.reject(new Error("the upstream is away"));
    expect((await scrubbed(scrubOf({ refetch }))).findings).toMatchObject([{ action: "forgotten" }]);
    await hold("two", { at: "2", by: [CACHED] });
    expect((await scrubbed(scrubOf({ refetch, airGapped: true }))).findings).toMatchObject([{ action: "lost" }]);
  });

  it("writes a document anew that memory still holds", async () => {
    const digest = await hold("document", { at: "DOCUMENT" });
    documents.remember(digest, Buffer.from("document"));
    expect((await scrubbed(scrubOf())).findings).toMatchObject([{ digest, action: "restored" }]);
    expect((await scrubbed(scrubOf())).findings).toEqual([]);
    expect(await stores.metadata.isLinked(LOCAL.name, digest)).toBe(true);
  });

  it("believes what it reads under the lock: bytes replaced meanwhile stay", async () => {
    const digest = await hold("replaced", { at: "broken!!" });
    const readOnce = Promise.withResolvers<void>();
    const open: TestStores["blobs"]["open"] = async (...args) => {
      const reader = await stores.blobs.open(...args);
      return { ...reader, close: async () => readOnce.resolve() };
    };
    const heal = createHealBlob({ ...stores, documents, airGapped: false, logger });
    const scrub = createScrub({ ...stores, blobs: { ...stores.blobs, open }, heal, logger });
    await stores.digestLock.run(digest, async () => {
      scrub.start({});
      await readOnce.promise;
      await put(digest, Buffer.from("replaced"));
    });
    expect((await scrub.finished()).findings).toEqual([]);
    expect(await stores.metadata.blob(digest)).toBeDefined();
  });

  it("is interrupted, and goes on behind where it was", async () => {
    for (let index = 0; index < 4; index += 1) await hold(`blob ${index}`);
    const first = scrubOf();
    first.start({ rate: 60 });
    expect(first.start({}).state).toBe("running");
    while (first.status().checked === 0) await new Promise((resolve) => setImmediate(resolve));
    const cancelled = await first.cancel();
    expect(cancelled).toMatchObject({ state: "cancelled", position: expect.stringMatching(/^sha256:/) });
    const rest = await scrubbed(scrubOf(), cancelled.position ?? undefined);
    expect(cancelled.checked + rest.checked).toBe(4);
    expect(cancelled.checked).toBeLessThan(4);
  });

  it("fails, and says where, when the store is out of reach: that is no damage", async () => {
    const digest = await hold("out of reach");
    const blobs = { ...stores.blobs, open: () => Promise.reject(new Error("the object store is not available")) };
    const heal = createHealBlob({ ...stores, blobs, documents, airGapped: false, logger });
    const status = await scrubbed(createScrub({ ...stores, blobs, heal, logger }));
    expect(status).toMatchObject({ state: "failed", error: "the object store is not available", findings: [] });
    expect(await stores.metadata.blob(digest)).toBeDefined();
  });
});
