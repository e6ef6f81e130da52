import { content, listAll, readBlob, sha256, writeBlob } from "@cache-registry/storage/blob-store/conformance/fixtures";
import type { ObjectStoreOptions } from "@cache-registry/storage/blob-store/object-store/store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startAzureServer } from "../support/azure-server.ts";
import { startGcsServer } from "../support/gcs-server.ts";
import type { ObjectStore } from "../support/object-stores.ts";
import { objectStoreConformance, useSpooledStores } from "../support/spooled-stores.ts";

const MiB = 2 ** 20;

/* S3 has its own file, s3-blob-store.test.ts. */
describe.each([
  ["gcs on fake-gcs-server", startGcsServer],
  ["azure on azurite", startAzureServer],
] as const)("%s", (name, start) => {
  let server: ObjectStore;

  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server?.dispose());

  const { open } = useSpooledStores<ObjectStoreOptions>((place, more) => server.open({ ...place, ...more }));

  objectStoreConformance(name, { open, partBytes: MiB });

  it("sends large blobs in parts: unseen while they are prepared, whole after the commit", async () => {
    const store = await open({ partBytes: 2 * MiB });
    const bytes = content(7 * MiB + 5, 3);
    const digest = sha256(bytes);
    const writer = await store.create();
    await writer.write(bytes);
    await writer.prepare?.(digest);
    expect(await store.stat(digest)).toBeUndefined();
    expect(await listAll(store.list())).toEqual([]);
    await writer.commit(digest);
    await writer.close();
    expect(await store.stat(digest)).toEqual({ size: bytes.length });
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    const range = { start: 2 * MiB - 3, end: 4 * MiB + 3 };
    expect((await readBlob(store, digest, range)).equals(bytes.subarray(range.start, range.end + 1))).toBe(true);
  });

  it("takes the same large blob from two at once, also when it is removed between their commits", async () => {
    const store = await open({ partBytes: MiB });
    const bytes = content(3 * MiB + 9, 5);
    const digest = sha256(bytes);
    const [first, second, third] = await Promise.all([store.create(), store.create(), store.create()]);
    for (const writer of [first, second, third]) {
      await writer.write(bytes);
      await writer.prepare?.(digest);
    }
    await first.commit(digest);
    await second.commit(digest);
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    await store.remove(digest, 1);
    await third.commit(digest);
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    for (const writer of [first, second, third]) await writer.close();
  });

  it("keeps nothing visible of what was prepared and not committed", async () => {
    const store = await open({ partBytes: MiB });
    const bytes = content(2 * MiB + 1, 6);
    const writer = await store.create();
    await writer.write(bytes);
    await writer.prepare?.(sha256(bytes));
    await writer.close();
    expect(await listAll(store.list())).toEqual([]);
    expect(await store.stat(sha256(bytes))).toBeUndefined();
  });

  it("is 503 while it is away, starts without it, and is well when it is back", async () => {
    const store = await open();
    const digest = await writeBlob(store, content(1_000));
    await server.stop();
    try {
      await expect(store.stat(digest)).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
      await expect(store.open(digest)).rejects.toMatchObject({ code: "UNAVAILABLE" });
      await open();
    } finally {
      await server.start();
    }
    expect((await readBlob(store, digest)).equals(content(1_000))).toBe(true);
  });
});
