import { createVerify, generateKeyPairSync } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenSource } from "@cache-registry/runtime/cloud-identity/token-source";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BlobMissingError, type BlobStore } from "./blob-store.ts";
import { content, listAll, readBlob, sha256, writeBlob } from "./conformance/fixtures.ts";
import { createGcsBlobStore, type GcsOptions } from "./gcs.ts";
import { answer, cut, type Reaction, type ScriptedServer, startScriptedServer } from "./object-store/test-server.ts";

const KiB = 1024;
const bytes = content(1_000);
const digest = sha256(bytes);
const key = `p/blobs/sha256/${digest.slice("sha256:".length)}`;
const path = `/storage/v1/b/images/o/${encodeURIComponent(key)}`;
let server: ScriptedServer;
let spool: string;
let store: BlobStore;

const json = (body: unknown, status = 200, headers: Record<string, string> = {}): Reaction =>
  answer(status, JSON.stringify(body), headers);
const page = (names: readonly string[], nextPageToken?: string): Reaction =>
  json({ kind: "storage#objects", items: names.map((name) => ({ name })), nextPageToken });
const refused = (status: number, reason: string): Reaction =>
  json({ error: { code: status, message: "do-not-show-this", errors: [{ reason }] } }, status);
const metadata = json({ size: "1000", generation: "7" });
const requests = () => server.seen.map(({ method, path: asked }) => `${method} ${asked}`);

beforeAll(async () => {
  spool = await mkdtemp(join(tmpdir(), "gcs-spool-"));
  server = await startScriptedServer();
});
afterAll(async () => {
  await server.close();
  await rm(spool, { recursive: true });
});

async function open(more: Partial<GcsOptions> = {}): Promise<BlobStore> {
  const location = { endpoint: server.url, bucket: "images" };
  const opened = createGcsBlobStore({ location, prefix: "p/", spool, partBytes: 256 * KiB, ...more });
  server.script(page([]));
  await opened.start();
  return opened;
}
beforeEach(async () => {
  store = await open();
});

describe("GCS blob store", () => {
  it.each([
    ["a server in trouble", refused(503, "backendError")],
    ["too many requests", refused(429, "rateLimitExceeded")],
    ["a rate limit that is told as a refusal", refused(403, "userRateLimitExceeded")],
    ["a broken connection", cut],
  ])("tries again after %s", async (_what, failure) => {
    server.script(failure, failure, metadata);
    expect(await store.stat(digest)).toEqual({ size: 1_000 });
    expect(requests()).toEqual(Array(3).fill(`GET ${path}`));
  });

  it("takes a 404 for an absence only when the list of the bucket says so too", async () => {
    server.script(refused(404, "notFound"), page([]));
    expect(await store.stat(digest)).toBeUndefined();
    expect(requests()[1]).toBe(`GET /storage/v1/b/images/o?prefix=${encodeURIComponent(key)}&maxResults=1`);
    server.script(answer(404, "No such object"), page([`${key}.longer`]));
    await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
    // The bucket is gone, or a proxy lost its backend.
    for (const failure of [refused(404, "notFound"), answer(404, "default backend - 404")]) {
      server.script(failure);
      await expect(store.stat(digest)).rejects.toMatchObject({ name: "StoreResponseError", status: 404 });
      await expect(store.open(digest)).rejects.toMatchObject({ name: "StoreResponseError" });
    }
    server.script(refused(404, "notFound"), page([key]), metadata);
    expect(await store.stat(digest)).toEqual({ size: 1_000 });
  });

  it("removes the generation that is there, and no later one", async () => {
    server.script(metadata, answer(204));
    await store.remove(digest, 1);
    expect(requests()).toEqual([`GET ${path}`, `DELETE ${path}?generation=7`]);
    server.script(metadata, cut, answer(404));
    await store.remove(digest, 1);
    server.script(refused(404, "notFound"), page([]));
    await store.remove(digest, 1);
  });

  it("sends the hash of the bytes with them", async () => {
    server.script(json({}));
    await writeBlob(store, bytes);
    const [put] = server.seen;
    expect(put?.path).toBe(`/upload/storage/v1/b/images/o?uploadType=multipart&name=${encodeURIComponent(key)}`);
    const [, head = "", body = ""] = put?.body.toString("latin1").split(/--[0-9a-f]{32}(?:--)?\r\n/) ?? [];
    const { name, md5Hash } = JSON.parse(head.split("\r\n\r\n")[1] ?? "") as Record<string, string>;
    expect(name).toBe(key);
    expect(md5Hash).toMatch(/^[A-Za-z0-9+/]{22}==$/);
    expect(Buffer.from(body.slice(body.indexOf("\r\n\r\n") + 4, -2), "latin1").equals(bytes)).toBe(true);
  });

  it("reports a full store, and keeps nothing of what it could not take", async () => {
    server.script(refused(403, "quotaExceeded"));
    await expect(writeBlob(store, bytes)).rejects.toMatchObject({ code: "INSUFFICIENT_STORAGE" });
    expect(await readdir(join(spool, "ingest"))).toEqual([]);
  });

  it("tells what cannot succeed at once, and shows no secret", async () => {
    server.script(refused(403, "forbidden"));
    const failure = await store.stat(digest).then(String, (error: Error) => `${error.stack}`);
    expect(failure).toContain(`the object store answered 403 forbidden to GET ${key}`);
    expect(failure).not.toContain("do-not-show-this");
    expect(server.seen).toHaveLength(1);
  });

  it("asks for another token when one was refused", async () => {
    let given = 0;
    const tokens = createTokenSource(async () => ({ value: `t-${++given}`, expiresAt: Date.now() + 3_600_000 }));
    const authorized = await open({ tokens });
    server.script(refused(401, "authError"), metadata);
    await authorized.stat(digest);
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer t-1", "Bearer t-2"]);
    server.script(refused(401, "authError"));
    await expect(authorized.stat(digest)).rejects.toMatchObject({ status: 401 });
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer t-2", "Bearer t-3"]);
  });

  it("copies what is set aside until the copy is whole", async () => {
    const more = json({ done: false, rewriteToken: "on" });
    server.script(metadata, more, json({ done: true }), metadata, answer(204));
    await store.quarantine?.(digest);
    const [, first, second, , last] = requests();
    expect(first).toMatch(new RegExp(`^POST ${path}/rewriteTo/b/images/o/p%2Fquarantine%2Fsha256-[0-9a-f]{64}\\.`));
    expect(second).toBe(`${first}?rewriteToken=on`);
    expect(last).toBe(`DELETE ${path}?generation=7`);
  });
});

describe("a list of a bucket of Google", () => {
  const name = (index: number) => `p/blobs/sha256/${String(index).repeat(64)}`;

  it("goes through every page", async () => {
    server.script(page([name(1), name(2)], "next&"), page([name(3), "p/blobs/sha256/other"]), page([]));
    expect(await listAll(store.list())).toEqual([1, 2, 3].map((index) => `sha256:${String(index).repeat(64)}`));
    expect(requests()[1]).toMatch(/pageToken=next%26$/);
  });

  it.each([
    ["a page cut in the middle", answer(200, JSON.stringify({ kind: "storage#objects", items: [] }).slice(0, -5))],
    ["another document", answer(200, "<html>welcome</html>")],
    ["an object without a name", json({ kind: "storage#objects", items: [{}] })],
    ["a page of something else", json({ items: [] })],
    ["the same page again", page([], "t")],
  ])("is refused with %s, also as the second page", async (_what, damaged) => {
    server.script(page([name(1)], "t"), damaged);
    await expect(listAll(store.list())).rejects.toMatchObject({ name: "StoreProtocolError" });
  });
});

describe("a resumable upload", () => {
  const large = content(700 * KiB);
  const begun = answer(200, "", {
    location: "http://elsewhere.example/upload?uploadType=resumable&upload_id=secret-id",
  });
  const has = (count: number): Reaction => answer(308, "", count === 0 ? {} : { range: `bytes=0-${count * KiB - 1}` });
  const sent = () =>
    server.seen.filter(({ method }) => method === "PUT").map(({ headers }) => headers["content-range"]);
  const part = (start: number, end: number) => `bytes ${start * KiB}-${end * KiB - 1}/${700 * KiB}`;
  const query = `bytes */${700 * KiB}`;

  it("is seen with its last part", async () => {
    const writer = await store.create();
    await writer.write(large);
    server.script(begun, has(256), has(512), json({}));
    await writer.prepare?.(sha256(large));
    expect(sent()).toEqual([part(0, 256), part(256, 512)]);
    await writer.commit(sha256(large));
    expect(sent()).toEqual([part(0, 256), part(256, 512), part(512, 700)]);
    const bodies = server.seen.filter(({ method }) => method === "PUT").map(({ body }) => body);
    expect(Buffer.concat(bodies).equals(large)).toBe(true);
    // To the endpoint of the configuration, wherever the answer points.
    expect(requests()[1]).toMatch(/^PUT \/upload\/storage\/v1\/b\/images\/o\?.*&upload_id=secret-id$/);
    await writer.close();
  });

  it("goes on from what the server has: after a part that it took by half, and after a broken connection", async () => {
    server.script(begun, has(100), cut, has(100), has(356), answer(503), has(400), has(600), cut, json({}));
    await writeBlob(store, large);
    expect(sent()).toEqual([
      part(0, 256),
      part(100, 356),
      query,
      part(100, 356),
      part(356, 612),
      query,
      part(400, 656),
      part(600, 700),
      query,
    ]);
  });

  it("is given up when the server refuses it, and its id is shown nowhere", async () => {
    server.script(begun, refused(403, "forbidden"), answer(499));
    const failure = await writeBlob(store, large).then(String, (error: Error) => `${error.stack}`);
    expect(failure).toContain("403 forbidden");
    expect(failure).not.toContain("secret-id");
    expect(requests().at(-1)).toMatch(/^DELETE .*upload_id=secret-id$/);
  });

  it("is done when its session is gone and the object is there", async () => {
    server.script(begun, has(256), has(512), answer(410), json({ size: String(700 * KiB), generation: "1" }));
    await writeBlob(store, large);
    server.script(begun, has(256), has(512), answer(410), metadata, answer(404));
    await expect(writeBlob(store, large)).rejects.toMatchObject({ status: 410 });
  });
});

describe("a signed URL of Google", () => {
  it("is signed as published", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const signing = await open({ signer: async () => ({ email: "cache@project.example", privateKey }) });
    const url = new URL((await signing.redirectUrl?.(digest)) ?? "");
    expect(url.origin + url.pathname).toBe(`${server.url}/images/${key}`);
    const { "X-Goog-Signature": signature = "", ...query } = Object.fromEntries(url.searchParams);
    expect(query).toMatchObject({ "X-Goog-Algorithm": "GOOG4-RSA-SHA256", "X-Goog-Expires": "1200" });
    const { "X-Goog-Date": date = "", "X-Goog-Credential": credential = "" } = query;
    const scope = `${date.slice(0, 8)}/auto/storage/goog4_request`;
    expect(credential).toBe(`cache@project.example/${scope}`);
    const canonical = `GET\n${url.pathname}\n${url.search.slice(1).split("&X-Goog-Signature")[0]}\nhost:${url.host}\n\nhost\nUNSIGNED-PAYLOAD`;
    const hash = sha256(canonical).slice("sha256:".length);
    const verify = createVerify("RSA-SHA256").update(`GOOG4-RSA-SHA256\n${date}\n${scope}\n${hash}`);
    expect(verify.verify(publicKey, signature, "hex")).toBe(true);
    expect(store.redirectUrl).toBeUndefined();
  });
});

it("reads on where a connection broke", async () => {
  const half = { "content-length": "1000" };
  const rest = { "content-range": "bytes 400-999/1000", "content-length": "600" };
  server.script(
    (response) => response.writeHead(200, half).write(bytes.subarray(0, 400), () => response.destroy()),
    answer(206, bytes.subarray(400), rest),
  );
  expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
  expect(requests()).toEqual(Array(2).fill(`GET ${path}?alt=media`));
  expect(server.seen[1]?.headers.range).toBe("bytes=400-999");
});
