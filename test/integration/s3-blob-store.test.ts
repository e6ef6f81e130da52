import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { hexOf } from "@cache-registry/core/digest";
import { content, listAll, readBlob, sha256, writeBlob } from "@cache-registry/storage/blob-store/conformance/fixtures";
import { createS3BlobStore, type S3Options } from "@cache-registry/storage/blob-store/s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3_CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";
import { objectStoreConformance, useSpooledStores } from "../support/spooled-stores.ts";

const MiB = 2 ** 20;
let server: S3Server;

beforeAll(async () => {
  server = await startS3Server();
});
afterAll(() => server?.dispose());

const stores = useSpooledStores<S3Options>((place, more) =>
  createS3BlobStore({ location: server.location, credentials: async () => S3_CREDENTIALS, ...place, ...more }),
);
const { open } = stores;

const filesBelow = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
};
const uploadsOf = async (prefix: string): Promise<number> => {
  const answer = await server.request("GET", `${server.location.bucket}?prefix=${encodeURIComponent(prefix)}&uploads=`);
  return (await answer.text()).split("<Upload>").length - 1;
};

objectStoreConformance("s3 on versitygw", { open, partBytes: 5 * MiB });

describe("s3 blob store of many replicas", () => {
  it("reads what a single one left, and removes it", async () => {
    const prefix = "handed-over/";
    const before = await open({ prefix });
    const bytes = content(1_000);
    const digest = await writeBlob(before, bytes);
    const store = await open({ prefix, shared: true });
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    await writeBlob(store, bytes);
    expect(await listAll(store.list())).toEqual([digest, digest]);
    expect(await store.removeCopies?.(digest, async () => {})).toBe(1);
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    await store.remove(digest, 1);
    expect(await listAll(store.list())).toEqual([]);
  });

  it("does not abort what another replica is sending", async () => {
    const prefix = "sending/";
    const one = await open({ prefix, shared: true });
    const bytes = content(20 * MiB);
    const writer = await one.create();
    await writer.write(bytes);
    await writer.prepare?.(sha256(bytes));
    const two = await open({ prefix, shared: true });
    expect(await uploadsOf(prefix)).toBe(1);
    await writer.commit(sha256(bytes));
    await writer.close();
    expect(await two.stat(sha256(bytes))).toEqual({ size: bytes.length });
  });
});

describe("s3 blob store", () => {
  it("lays objects out as in an OCI image layout, below its prefix", async () => {
    const store = await open({ prefix: "deep/er/" });
    const bytes = content(1_000);
    const digest = await writeBlob(store, bytes);
    const file = join(server.bucket, "deep", "er", "blobs", "sha256", hexOf(digest));
    expect((await readFile(file)).equals(bytes)).toBe(true);
  });

  it("leaves nothing in the spool of what was committed or closed", async () => {
    const spool = stores.spool("clean");
    const store = await open({ spool });
    await writeBlob(store, content(100));
    const upload = await store.openUpload("session");
    await upload.write(content(100));
    await upload.commit(sha256(content(100)));
    await upload.close();
    const lost = await store.create();
    await lost.write(content(100));
    await lost.close();
    expect(await filesBelow(spool)).toEqual([]);
  });

  it("sends large blobs in parts: unseen while they are prepared, whole after the commit", async () => {
    const spool = stores.spool("parts");
    const store = await open({ spool, partBytes: 5 * MiB });
    const bytes = content(17 * MiB + 5, 3);
    const digest = sha256(bytes);
    const writer = await store.create();
    await writer.write(bytes);
    await writer.prepare?.(digest);
    expect(await store.stat(digest)).toBeUndefined();
    expect(await uploadsOf(stores.prefix())).toBe(1);
    await expect(writer.write(bytes)).rejects.toThrow("prepared");
    await writer.commit(digest);
    const buffer = Buffer.alloc(1_000);
    expect(await writer.readAt(buffer, 16 * MiB)).toBe(1_000);
    await writer.close();
    expect(await uploadsOf(stores.prefix())).toBe(0);
    expect(await store.stat(digest)).toEqual({ size: bytes.length });
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
    const range = { start: 5 * MiB - 3, end: 10 * MiB + 3 };
    expect((await readBlob(store, digest, range)).equals(bytes.subarray(range.start, range.end + 1))).toBe(true);
    expect(await filesBelow(spool)).toEqual([]);
  });

  it("aborts what was prepared and not committed, at the latest at the next start", async () => {
    const store = await open({ partBytes: 5 * MiB });
    const prefix = stores.prefix();
    const bytes = content(6 * MiB, 5);
    const [closed, left] = [await store.create(), await store.create()];
    for (const writer of [closed, left]) {
      await writer.write(bytes);
      await writer.prepare?.(sha256(bytes));
    }
    expect(await uploadsOf(prefix)).toBe(2);
    await closed.close();
    expect(await uploadsOf(prefix)).toBe(1);
    await open({ prefix });
    expect(await uploadsOf(prefix)).toBe(0);
    await expect(left.commit(sha256(bytes))).rejects.toThrow("NoSuchUpload");
    await left.close();
    expect(await listAll(store.list())).toEqual([]);
  });

  it("keeps upload sessions over a restart, and throws away what only the process knew", async () => {
    const spool = stores.spool("restart");
    const first = await open({ spool });
    const upload = await first.openUpload("session");
    await upload.write(content(500));
    const lost = await first.create();
    await lost.write(content(500));
    const second = await open({ spool });
    const resumed = await second.openUpload("session");
    expect(resumed.size).toBe(500);
    expect(await readdir(join(spool, "ingest"))).toEqual([]);
    for (const writer of [resumed, upload, lost]) await writer.close();
  });

  it("lists page by page", async () => {
    const store = await open();
    const digests: string[] = [];
    for (let start = 0; start < 1_100; start += 20) {
      const batch = Array.from({ length: 20 }, (_, index) => writeBlob(store, Buffer.from(`blob ${start + index}`)));
      digests.push(...(await Promise.all(batch)));
    }
    expect((await listAll(store.list())).sort()).toEqual(digests.sort());
  });

  it.each([
    ["a bucket that is not there", { location: { bucket: "no-such-bucket" } }, "NoSuchBucket"],
    ["a wrong secret", { credentials: { secretAccessKey: "wrong-secret" } }, "SignatureDoesNotMatch"],
    ["an unknown key id", { credentials: { accessKeyId: "nobody" } }, "XAdminUserNotFound"],
  ])("does not start with %s, and names the reason without a secret", async (_what, {
    location,
    credentials,
  }: { location?: object; credentials?: object }, reason) => {
    const opening = open({
      location: { ...server.location, ...location },
      credentials: async () => ({ ...S3_CREDENTIALS, ...credentials }),
    });
    const error = await opening.then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    );
    expect(error?.message).toMatch(
      new RegExp(`^storage\\.blobs\\.s3: the object store answered 40\\d ${reason} to GET the bucket`),
    );
    expect(`${error?.stack}${String(error?.cause)}`).not.toMatch(/secret-access-key|wrong-secret|Signature=/);
  });
});
