import { digestOfBytes } from "@cache-registry/core/verify";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlobLocation } from "../pull-through/blob-source.ts";
import { createPullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createReadBlob, type ReadBlob } from "./read-blob.ts";
import { localRepository, upstreamRepository } from "./repository.ts";

const local = localRepository("team/app");
const cached = upstreamRepository("a.example", "app");
const bytes = Buffer.from("the bytes of a layer");
const digest = digestOfBytes(bytes);

let stores: TestStores;
let readBlob: ReadBlob;
let touched: string[];
let locations: BlobLocation[];

beforeEach(async () => {
  stores = await openTestStores();
  touched = [];
  locations = [];
  readBlob = createReadBlob({
    ...stores,
    metrics: createPullThroughMetrics(createMetrics({ defaultMetrics: false })),
    pulls: { touched: (repository: string) => void touched.push(repository), settle: async () => {} } as never,
    client: { headBlob: async () => ({ size: 42 }) } as unknown as UpstreamClient,
    source: {
      running: () => undefined,
      underWay: () => [],
      attach: () => "absent",
      locate: async () => locations.shift() ?? { kind: "stored", size: bytes.length },
    },
  });
  const writer = await stores.blobs.create();
  await writer.write(bytes);
  await writer.commit(digest);
  for (const repository of [local, cached]) {
    await stores.metadata.linkBlob({ repository, digest, size: bytes.length, now: Date.now() });
  }
});
afterEach(() => stores.dispose());

describe("stat", () => {
  it("promises what is here, and remembers that it did", async () => {
    expect(await readBlob.stat(local, digest)).toEqual({ size: bytes.length, outcome: "hit" });
    expect(touched).toEqual(["team/app"]);
    await expect(readBlob.stat(localRepository("other"), digest)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
  });

  it("waits for a collector that is about to take the blob away", async () => {
    const removing = Promise.withResolvers<void>();
    const collected = stores.digestLock.run(digest, async () => {
      await removing.promise;
      await stores.metadata.forgetBlob(digest);
    });
    const asked = readBlob.stat(local, digest);
    removing.resolve();
    await collected;
    await expect(asked).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect(touched).toEqual([]);
  });

  it("does not promise bytes that are lost", async () => {
    await stores.blobs.remove(digest, 0);
    await expect(readBlob.stat(local, digest)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect(await stores.metadata.blob(digest)).toBeUndefined();
    expect(await readBlob.stat(cached, digest)).toEqual({ size: 42, outcome: "miss" });
  });
});

describe("open", () => {
  it("forgets lost bytes and looks for them again, where there is an upstream", async () => {
    await stores.blobs.remove(digest, 0);
    await expect(readBlob.open(local, digest)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    locations = [{ kind: "stored", size: bytes.length }];
    await expect(readBlob.open(cached, digest)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect(locations).toEqual([]);
  });

  it("says unknown when the bytes go between looking and reading", async () => {
    const content = await readBlob.open(local, digest);
    await stores.blobs.remove(digest, 0);
    await expect(content.reader()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
  });
});
