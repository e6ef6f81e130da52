import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BlobMissingError, type BlobStore } from "./blob-store.ts";
import { content, sha256, writeBlob } from "./conformance/fixtures.ts";
import { answer, cut, refusal } from "./object-store/test-server.ts";
import { type ScriptedS3, startScriptedS3 } from "./s3/test-server.ts";
import { createS3BlobStore } from "./s3.ts";

const MINUTE = 60_000;
const bytes = content(1_000);
const digest = sha256(bytes);
const empty = answer(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>");
const noUploads = answer(200, "<ListMultipartUploadsResult></ListMultipartUploadsResult>");
let server: ScriptedS3;
let spool: string;
let store: BlobStore;
let now = 0;

beforeAll(async () => {
  spool = await mkdtemp(join(tmpdir(), "s3-spool-"));
  server = await startScriptedS3();
});
afterAll(async () => {
  await server.close();
  await rm(spool, { recursive: true });
});
beforeEach(async () => {
  const { location, credentials } = server;
  store = createS3BlobStore({ location, credentials, prefix: "", spool, now: () => now });
  server.script(empty, noUploads);
  await store.start();
});

describe("a removal without an answer", () => {
  it.each([
    ["cut, and done by the next attempt", [cut, answer(204)]],
    ["a gateway's time-out, and nothing there any more", [answer(504), refusal(404, "NoSuchKey")]],
  ])("keeps new bytes out until it is too old to be carried out: %s", async (_what, reactions) => {
    server.script(...reactions);
    await store.remove(digest, 1);
    server.script(answer(200));
    await expect(writeBlob(store, bytes)).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
    await writeBlob(store, content(10));
    now += 15 * MINUTE;
    await expect(writeBlob(store, bytes)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(server.seen).toHaveLength(1);
    now += 6 * MINUTE;
    await writeBlob(store, bytes);
    expect(server.seen).toHaveLength(2);
    expect(await readdir(join(spool, "ingest"))).toEqual([]);
  });

  it("is none when it was refused, answered, or never sent", async () => {
    server.script(refusal(403, "AccessDenied"));
    await expect(store.remove(digest, 1)).rejects.toMatchObject({ code: "AccessDenied" });
    server.script(refusal(404, "NoSuchKey"));
    await store.remove(digest, 1);
    server.script(answer(200));
    expect(await writeBlob(store, bytes)).toBe(digest);
  });
});

it("does not take another kind of 404 for a removal", async () => {
  server.script(refusal(404, "NoSuchBucket"));
  await expect(store.remove(digest, 1)).rejects.toMatchObject({ name: "StoreResponseError" });
});

it("hands the bytes to a server that can check them", async () => {
  server.script(answer(200));
  await writeBlob(store, bytes);
  const [put] = server.seen;
  expect([put?.method, put?.path]).toEqual(["PUT", `/images/blobs/sha256/${digest.slice("sha256:".length)}`]);
  expect(put?.headers).toMatchObject({
    "x-amz-content-sha256": digest.slice("sha256:".length),
    "content-length": "1000",
  });
  expect(put?.body.equals(bytes)).toBe(true);
});

it("reports a full store, and keeps nothing of what it could not take", async () => {
  server.script(refusal(507, "QuotaExceeded"));
  await expect(writeBlob(store, bytes)).rejects.toMatchObject({ code: "INSUFFICIENT_STORAGE" });
  expect(await readdir(join(spool, "ingest"))).toEqual([]);
});

describe("absence", () => {
  it("is what NoSuchKey says", async () => {
    server.script(refusal(404, "NoSuchKey"));
    await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
    expect(await store.stat(digest)).toBeUndefined();
  });

  it.each([
    ["a bucket that is gone", refusal(404, "NoSuchBucket")],
    ["a proxy without a backend", answer(404, "default backend - 404")],
  ])("is not told from %s", async (_what, failure) => {
    server.script(failure);
    await expect(store.open(digest)).rejects.toMatchObject({ name: "StoreResponseError" });
    await expect(store.stat(digest)).rejects.toMatchObject({ name: "StoreResponseError" });
  });
});
