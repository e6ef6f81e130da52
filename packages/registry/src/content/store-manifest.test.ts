import { parseManifest } from "@cache-registry/core/manifest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createManifestDocuments, type ManifestDocuments } from "./manifest-documents.ts";
import { localRepository } from "./repository.ts";
import { createStoreManifest, type StoreManifest } from "./store-manifest.ts";

const repository = localRepository("team/app");
const type = "application/vnd.oci.image.manifest.v1+json";
const config = Buffer.from("{}");
const configDigest = digestOfBytes(config);
const bytes = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: type,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: configDigest, size: config.length },
    layers: [],
  }),
);
const digest = digestOfBytes(bytes);

let stores: TestStores;
let documents: ManifestDocuments;
let store: StoreManifest;
beforeEach(async () => {
  stores = await openTestStores();
  documents = createManifestDocuments(stores.blobs, stores.digestLock);
  store = createStoreManifest({ ...stores, documents });
});
afterEach(() => stores.dispose());

const put = (requireReferences = true) =>
  store({ repository, digest, bytes, parsed: parseManifest(bytes, type), tags: ["v1"], requireReferences });

async function pushConfig(): Promise<void> {
  const writer = await stores.blobs.create();
  await writer.write(config);
  await writer.commit(configDigest);
  await stores.metadata.linkBlob({ repository, digest: configDigest, size: config.length, now: Date.now() });
}

describe("createStoreManifest", () => {
  it("stores bytes, references and tags together", async () => {
    await pushConfig();
    expect((await put()).missing).toEqual([]);
    expect((await stores.metadata.tag("team/app", "v1"))?.digest).toBe(digest);
    expect(await documents.load(digest)).toEqual(bytes);
    expect(await stores.blobs.stat(digest)).toEqual({ size: bytes.length });
  });

  it("leaves nothing when a push lacks what it refers to", async () => {
    expect((await put()).missing).toEqual([configDigest]);
    expect(await stores.metadata.tag("team/app", "v1")).toBeUndefined();
    expect(await stores.metadata.blob(digest)).toBeUndefined();
    expect(await stores.blobs.stat(digest)).toBeUndefined();
  });

  it("stores what was pulled through before its references come", async () => {
    expect((await put(false)).missing).toEqual([]);
    expect((await stores.metadata.manifest("team/app", digest))?.mediaType).toBe(type);
  });

  it("writes the bytes again when they were lost", async () => {
    await put(false);
    await stores.blobs.remove(digest, 0);
    await put(false);
    expect(await stores.blobs.stat(digest)).toEqual({ size: bytes.length });
  });
});

describe("createManifestDocuments", () => {
  it("removes damaged bytes, so that good ones can come", async () => {
    const writer = await stores.blobs.create();
    await writer.write(Buffer.alloc(bytes.length));
    await writer.commit(digest);
    await expect(documents.load(digest)).rejects.toMatchObject({ name: "BlobMissingError" });
    expect(await stores.blobs.stat(digest)).toBeUndefined();
    await put(false);
    expect(await createManifestDocuments(stores.blobs, stores.digestLock).load(digest)).toEqual(bytes);
  });
});
