import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenSource } from "@cache-registry/runtime/cloud-identity/token-source";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AzureCredentials } from "./azure/authorization.ts";
import { createAzureBlobStore } from "./azure.ts";
import { BlobMissingError, type BlobStore } from "./blob-store.ts";
import { content, listAll, sha256, writeBlob } from "./conformance/fixtures.ts";
import { answer, cut, type Reaction, type ScriptedServer, startScriptedServer } from "./object-store/test-server.ts";

const KiB = 1024;
const bytes = content(1_000);
const digest = sha256(bytes);
const hex = digest.slice("sha256:".length);
const path = `/acc/images/p/blobs/sha256/${hex}`;
let server: ScriptedServer;
let spool: string;
let store: BlobStore;

const refused = (status: number, code: string): Reaction =>
  answer(status, `<Error><Code>${code}</Code><Message>do-not-show-this</Message></Error>`, { "x-ms-error-code": code });
const list = (names: readonly string[], marker: string): Reaction => {
  const blobs = names.map((name) => `<Blob><Name>${name}</Name><Properties/></Blob>`).join("");
  const head = `\uFEFF<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="images">`;
  return answer(200, `${head}<Prefix>p</Prefix><Blobs>${blobs}</Blobs>${marker}</EnumerationResults>`);
};
const LAST = "<NextMarker />";
const held: Reaction = (response) => response.writeHead(200, { "content-length": "1000", etag: '"e-1"' }).end();
const requests = () => server.seen.map(({ method, path: asked }) => `${method} ${asked}`);

beforeAll(async () => {
  spool = await mkdtemp(join(tmpdir(), "azure-spool-"));
  server = await startScriptedServer();
});
afterAll(async () => {
  await server.close();
  await rm(spool, { recursive: true });
});

const KEY: AzureCredentials = { kind: "key", key: async () => Buffer.from("key").toString("base64") };
async function open(credentials = KEY): Promise<BlobStore> {
  const location = { account: "acc", container: "images", endpoint: `${server.url}/acc` };
  const opened = createAzureBlobStore({ location, credentials, prefix: "p/", spool, partBytes: 256 * KiB });
  server.script(list([], LAST));
  await opened.start();
  return opened;
}
beforeEach(async () => {
  store = await open();
});

describe("Azure blob store", () => {
  it.each([
    ["a busy server", refused(503, "ServerBusy")],
    ["an operation that took too long", refused(500, "OperationTimedOut")],
    ["too many requests", refused(429, "TooManyRequests")],
    ["a broken connection", cut],
  ])("tries again after %s", async (_what, failure) => {
    server.script(failure, failure, held);
    expect(await store.stat(digest)).toEqual({ size: 1_000 });
    expect(requests()).toEqual(Array(3).fill(`HEAD ${path}`));
  });

  it("takes BlobNotFound for an absence, and nothing else", async () => {
    server.script(refused(404, "BlobNotFound"));
    expect(await store.stat(digest)).toBeUndefined();
    await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
    await store.remove(digest, 1);
    for (const failure of [refused(404, "ContainerNotFound"), answer(404, "default backend - 404")]) {
      server.script(failure);
      await expect(store.stat(digest)).rejects.toMatchObject({ name: "StoreResponseError", status: 404 });
      await expect(store.open(digest)).rejects.toMatchObject({ name: "StoreResponseError" });
      await expect(store.remove(digest, 1)).rejects.toMatchObject({ name: "StoreResponseError" });
    }
  });

  it("removes what is there, and nothing that comes later", async () => {
    server.script(held, cut, answer(202));
    await store.remove(digest, 1);
    expect(requests()).toEqual([`HEAD ${path}`, `DELETE ${path}`, `DELETE ${path}`]);
    expect(server.seen[2]?.headers["if-match"]).toBe('"e-1"');
    server.script(held, refused(412, "ConditionNotMet"));
    await expect(store.remove(digest, 1)).rejects.toMatchObject({ code: "ConditionNotMet" });
  });

  it("sends the hash of the bytes with them", async () => {
    server.script(answer(201));
    await writeBlob(store, bytes);
    const [put] = server.seen;
    expect([put?.method, put?.path]).toEqual(["PUT", path]);
    expect(put?.headers).toMatchObject({ "x-ms-blob-type": "BlockBlob", "content-length": "1000" });
    expect(put?.headers["content-md5"]).toMatch(/^[A-Za-z0-9+/]{22}==$/);
    expect(put?.body.equals(bytes)).toBe(true);
  });

  it("reports a full account, and keeps nothing of what it could not take", async () => {
    server.script(refused(409, "AccountLimitExceeded"));
    await expect(writeBlob(store, bytes)).rejects.toMatchObject({ code: "INSUFFICIENT_STORAGE" });
    expect(await readdir(join(spool, "ingest"))).toEqual([]);
  });

  it("waits for a copy of what is set aside", async () => {
    const copied = (status: string): Reaction => answer(202, "", { "x-ms-copy-status": status });
    server.script(held, copied("pending"), copied("success"), held, answer(202));
    await store.quarantine?.(digest);
    expect(server.seen[1]?.headers["x-ms-copy-source"]).toBe(`${server.url}${path}`);
    expect(requests().at(-1)).toBe(`DELETE ${path}`);
    server.script(held, copied("failed"));
    await expect(store.quarantine?.(digest)).rejects.toMatchObject({ name: "StoreProtocolError" });
    expect(requests()).toHaveLength(2);
  });
});

describe("blocks", () => {
  const large = content(700 * KiB);

  it("are called the same whoever sends them, and listed in their order", async () => {
    server.script(answer(201));
    await writeBlob(store, large);
    const ids = () =>
      server.seen.slice(0, 3).map(({ path: asked }) => new URL(asked, server.url).searchParams.get("blockid") ?? "");
    const first = ids().sort();
    expect(new Set(first).size).toBe(3);
    const document = server.seen.at(-1)?.body.toString() ?? "";
    expect([...document.matchAll(/<Latest>([^<]+)</g)].map(([, id]) => id)).toEqual(first);
    server.script(answer(201));
    await writeBlob(store, large);
    expect(ids().sort()).toEqual(first);
  });

  it("are sent again when they are gone, unless the blob is there", async () => {
    const gone = refused(400, "InvalidBlockList");
    const ok = answer(201);
    server.script(ok, ok, ok, gone, refused(404, "BlobNotFound"), ok);
    await writeBlob(store, large);
    expect(requests().filter((line) => line.includes("comp=blocklist"))).toHaveLength(2);
    expect(requests().filter((line) => line.includes("comp=block&"))).toHaveLength(6);
    server.script(ok, ok, ok, gone, (response) => response.writeHead(200, { "content-length": 700 * KiB }).end());
    await writeBlob(store, large);
    expect(server.seen).toHaveLength(5);
  });
});

describe("a list of a container", () => {
  const name = (index: number) => `p/blobs/sha256/${String(index).repeat(64)}`;

  it("goes through every page", async () => {
    server.script(list([name(1), name(2)], "<NextMarker>a&amp;b</NextMarker>"), list([name(3)], LAST), list([], LAST));
    expect(await listAll(store.list())).toEqual([1, 2, 3].map((index) => `sha256:${String(index).repeat(64)}`));
    expect(requests()[1]).toMatch(/&marker=a%26b$/);
  });

  it.each([
    ["another document", answer(200, "<html>welcome</html>")],
    ["a page cut in the middle", answer(200, "<EnumerationResults><Blobs><Blob><Name>p/a")],
    ["a page that does not say whether it is the last", list([name(2)], "")],
    ["a blob without a name", answer(200, `<EnumerationResults><Blob><X/></Blob>${LAST}</EnumerationResults>`)],
    ["the same page again", list([], "<NextMarker>t</NextMarker>")],
  ])("is refused with %s", async (_what, damaged) => {
    server.script(list([name(1)], "<NextMarker>t</NextMarker>"), damaged);
    await expect(listAll(store.list())).rejects.toMatchObject({ name: "StoreProtocolError" });
  });
});

describe("authorisation", () => {
  it("is the signature of a key", async () => {
    server.script(held);
    await store.stat(digest);
    expect(server.seen[0]?.headers.authorization).toMatch(/^SharedKey acc:[A-Za-z0-9+/]{43}=$/);
    expect(await store.redirectUrl?.(digest)).toMatch(new RegExp(`^${server.url}${path}\\?sv=.*&sp=r&.*&sig=`));
  });

  it("is a shared access signature, shown nowhere", async () => {
    const sas = await open({ kind: "sas", token: async () => "?sv=2021-12-02&sig=do-not%2Bshow" });
    server.script(refused(403, "AuthorizationFailure"));
    const failure = await sas.stat(digest).then(String, (error: Error) => `${error.stack}`);
    expect(failure).toContain("403 AuthorizationFailure to HEAD p/blobs/sha256/");
    expect(failure).not.toMatch(/do-not/);
    expect(requests()).toEqual([`HEAD ${path}?sv=2021-12-02&sig=do-not%2Bshow`]);
    // It would hand the right to write to everybody.
    expect(sas.redirectUrl).toBeUndefined();
  });

  it("is a token of an identity, another one when it was refused", async () => {
    let given = 0;
    const tokens = createTokenSource(async () => ({ value: `t-${++given}`, expiresAt: Date.now() + 3_600_000 }));
    const identity = await open({ kind: "identity", tokens });
    server.script(refused(401, "InvalidAuthenticationInfo"), held);
    await identity.stat(digest);
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer t-1", "Bearer t-2"]);
    server.script(refused(401, "InvalidAuthenticationInfo"));
    await expect(identity.stat(digest)).rejects.toMatchObject({ status: 401 });
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer t-2", "Bearer t-3"]);
    expect(identity.redirectUrl).toBeUndefined();
  });
});
