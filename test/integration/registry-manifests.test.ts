import { once } from "node:events";
import { rm } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import {
  blobOf,
  type Document,
  INDEX_TYPE,
  MANIFEST_TYPE,
  makeImage,
  makeIndex,
  randomBlob,
} from "../support/test-content.ts";

let registry: RegistryProcess;
let api: RegistryApi;
beforeAll(async () => {
  registry = await startRegistryProcess();
  api = createRegistryApi(registry.url);
});
afterAll(() => registry.dispose());

const document = (text: string, mediaType = MANIFEST_TYPE): Document => ({ mediaType, ...blobOf(Buffer.from(text)) });

describe("manifests", () => {
  it("are pushed and pulled by tag and digest, bytes unchanged", async () => {
    const image = makeImage([5_000, 100]);
    for (const blob of image.blobs) await api.pushBlob("m/image", blob);
    const pushed = await api.putManifest("m/image", "v1", image.manifest);
    expect(pushed.status).toBe(201);
    expect(pushed.headers.get("docker-content-digest")).toBe(image.manifest.digest);
    expect(pushed.headers.get("location")).toBe(`/v2/m/image/manifests/${image.manifest.digest}`);
    for (const reference of ["v1", image.manifest.digest]) {
      const pulled = await api.request("GET", `m/image/manifests/${reference}`);
      expect(pulled.headers.get("content-type")).toBe(MANIFEST_TYPE);
      expect(pulled.headers.get("docker-content-digest")).toBe(image.manifest.digest);
      expect(Buffer.from(await pulled.arrayBuffer())).toEqual(image.manifest.bytes);
      const head = await api.request("HEAD", `m/image/manifests/${reference}`);
      expect(head.headers.get("content-length")).toBe(String(image.manifest.bytes.length));
      expect(head.headers.get("content-type")).toBe(MANIFEST_TYPE);
      expect(head.headers.get("docker-content-digest")).toBe(image.manifest.digest);
    }
    const known = { "if-none-match": `"${image.manifest.digest}"` };
    expect((await api.request("GET", "m/image/manifests/v1", { headers: known })).status).toBe(304);
  });

  it("of an index with several platforms keep their children reachable", async () => {
    const index = makeIndex({ amd64: makeImage(), arm64: makeImage() });
    await api.pushImage("m/index", "multi", index);
    const pulled = await api.request("GET", "m/index/manifests/multi");
    expect(pulled.headers.get("content-type")).toBe(INDEX_TYPE);
    for (const { manifest } of index.images) {
      expect(await api.get(`m/index/manifests/${manifest.digest}`)).toEqual(manifest.bytes);
    }
  });

  it("are refused while what they refer to is missing, and it is named", async () => {
    const image = makeImage([1_000]);
    const [config, layer] = image.blobs;
    if (!config || !layer) throw new Error("an image has a config and a layer");
    await api.pushBlob("m/missing", config);
    const refused = await api.putManifest("m/missing", "v1", image.manifest);
    expect(refused.status).toBe(404);
    expect(await errorOf(refused)).toMatchObject({ code: "MANIFEST_BLOB_UNKNOWN", detail: [{ digest: layer.digest }] });
    expect((await api.request("HEAD", "m/missing/manifests/v1")).status).toBe(404);
    // Elsewhere is not here.
    await api.pushBlob("m/elsewhere", layer);
    expect((await api.putManifest("m/missing", "v1", image.manifest)).status).toBe(404);
  });

  it("that are none, or lie about themselves, are refused", async () => {
    const image = makeImage([]);
    await api.pushImage("m/bad", "ok", image);
    const put = async (reference: string, manifest: Document) => {
      const response = await api.putManifest("m/bad", reference, manifest);
      return [response.status, (await errorOf(response)).code];
    };
    expect(await put("t", document("<html></html>"))).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put("t", document("{}"))).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put("t", { ...image.manifest, mediaType: INDEX_TYPE })).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put(randomBlob(1).digest, image.manifest)).toEqual([400, "DIGEST_INVALID"]);
    expect(await put("sha256:short", image.manifest)).toEqual([400, "DIGEST_INVALID"]);
    expect(await put(".hidden", image.manifest)).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put("x".repeat(129), image.manifest)).toEqual([400, "MANIFEST_INVALID"]);
  });

  it("above 4 MiB are 413, announced or not, and the connection stays usable", async () => {
    const large = Buffer.alloc(5 * 2 ** 20, " ");
    const announced = await api.request("PUT", "m/large/manifests/v1", { body: large });
    expect([announced.status, (await errorOf(announced)).code]).toEqual([413, "MANIFEST_INVALID"]);
    const body = new Blob([large]).stream();
    const streamed = await api.request("PUT", "m/large/manifests/v1", { body });
    expect([streamed.status, (await errorOf(streamed)).code]).toEqual([413, "MANIFEST_INVALID"]);
  });

  it("are deleted by tag and by digest", async () => {
    const image = makeImage();
    await api.pushImage("m/delete", "a", image);
    await api.putManifest("m/delete", "b", image.manifest);
    expect((await api.request("DELETE", "m/delete/manifests/a")).status).toBe(202);
    expect((await api.request("HEAD", "m/delete/manifests/a")).status).toBe(404);
    expect((await api.request("HEAD", "m/delete/manifests/b")).status).toBe(200);
    expect((await api.request("DELETE", `m/delete/manifests/${image.manifest.digest}`)).status).toBe(202);
    expect((await api.request("HEAD", "m/delete/manifests/b")).status).toBe(404);
    const again = await api.request("DELETE", `m/delete/manifests/${image.manifest.digest}`);
    expect([again.status, (await errorOf(again)).code]).toEqual([404, "MANIFEST_UNKNOWN"]);
    const [, layer] = image.blobs;
    expect((await api.request("DELETE", `m/delete/blobs/${layer?.digest}`)).status).toBe(202);
    expect((await api.request("HEAD", `m/delete/blobs/${layer?.digest}`)).status).toBe(404);
  });
});

describe("blobs", () => {
  it("are served whole and in ranges", async () => {
    const blob = randomBlob(100_000);
    await api.pushBlob("b/range", blob);
    const ask = (range: string) => api.request("GET", `b/range/blobs/${blob.digest}`, { headers: { range } });
    const cases: [range: string, status: number, contentRange: string | null, from: number, to: number][] = [
      ["bytes=0-", 206, "bytes 0-99999/100000", 0, 100_000],
      ["bytes=10-19", 206, "bytes 10-19/100000", 10, 20],
      ["bytes=-5", 206, "bytes 99995-99999/100000", 99_995, 100_000],
      ["bytes=99999-200000", 206, "bytes 99999-99999/100000", 99_999, 100_000],
      ["bytes=-200000", 206, "bytes 0-99999/100000", 0, 100_000],
      ["bytes=0-1,3-4", 200, null, 0, 100_000],
      ["lines=0-1", 200, null, 0, 100_000],
    ];
    for (const [range, status, contentRange, from, to] of cases) {
      const response = await ask(range);
      expect([range, response.status, response.headers.get("content-range")]).toEqual([range, status, contentRange]);
      expect(response.headers.get("content-length")).toBe(String(to - from));
      expect(Buffer.from(await response.arrayBuffer()).equals(blob.bytes.subarray(from, to))).toBe(true);
    }
    for (const range of ["bytes=100000-", "bytes=-0", "bytes=5-1"]) {
      const beyond = await ask(range);
      expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */100000"]);
      // An error is no immutable content, for caches on the way.
      expect([beyond.headers.get("cache-control"), beyond.headers.get("etag")]).toEqual([null, null]);
    }
    const head = await api.request("HEAD", `b/range/blobs/${blob.digest}`);
    expect(head.headers.get("content-length")).toBe("100000");
    expect(head.headers.get("docker-content-digest")).toBe(blob.digest);
  });

  it("are readable only through a repository that links them", async () => {
    const blob = randomBlob(1_000);
    await api.pushBlob("b/mine", blob);
    for (const method of ["GET", "HEAD"]) {
      expect((await api.request(method, `b/yours/blobs/${blob.digest}`)).status).toBe(404);
    }
  });

  it("lost from the disk are pushed again instead of being promised", async () => {
    const image = makeImage([2_000]);
    await api.pushImage("b/lost", "v1", image);
    const [, layer] = image.blobs;
    if (!layer) throw new Error("the image has a layer");
    await rm(`${registry.data}/blobs/${layer.digest.replace(":", "/")}`);
    expect((await api.request("HEAD", `b/lost/blobs/${layer.digest}`)).status).toBe(404);
    expect((await api.request("GET", `b/lost/blobs/${layer.digest}`)).status).toBe(404);
    await api.pushBlob("b/lost", layer);
    expect(await api.get(`b/lost/blobs/${layer.digest}`)).toEqual(layer.bytes);
  });
});

describe("paths", () => {
  it("that are wrong get an error body of the spec", async () => {
    const cases: [method: string, path: string, status: number, code: string][] = [
      ["GET", "UPPER/manifests/latest", 400, "NAME_INVALID"],
      ["GET", "a/%2e%2e/b/manifests/latest", 400, "NAME_INVALID"],
      ["GET", "a%2f..%2f..%2fetc/manifests/latest", 400, "NAME_INVALID"],
      ["GET", `a/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd`, 404, "NOT_FOUND"],
      ["GET", "a/blobs/sha256:%00", 400, "DIGEST_INVALID"],
      ["GET", "a/blobs/uploads/..%2f..%2fmetadata.db", 404, "NOT_FOUND"],
      ["PATCH", "a/blobs/uploads/%2e%2e", 404, "BLOB_UPLOAD_UNKNOWN"],
      ["GET", "a%0d%0ax-injected:%20yes/manifests/latest", 400, "NAME_INVALID"],
      ["GET", "%zz/manifests/latest", 400, "BAD_REQUEST"],
      ["GET", `${"a".repeat(256)}/manifests/latest`, 400, "NAME_INVALID"],
      ["GET", "nothing/here", 404, "NOT_FOUND"],
      ["GET", "a/manifests/latest", 404, "NAME_UNKNOWN"],
      ["GET", "a/tags/list", 404, "NAME_UNKNOWN"],
      ["POST", "a/manifests/latest", 405, "UNSUPPORTED"],
      ["GET", "a/manifests/latest?ns=docker.io&ns=quay.io", 400, "BAD_REQUEST"],
      ["GET", "a/manifests/latest?ns=a%20b", 400, "BAD_REQUEST"],
    ];
    for (const [method, path, status, code] of cases) {
      const response = await rawRequest(method, `/v2/${path}`);
      expect([path, response.status, response.code]).toEqual([path, status, code]);
      expect(response.headers).not.toHaveProperty("x-injected");
    }
  });

  it("of an upstream take no push, and say why", async () => {
    const image = makeImage([]);
    const refused = await api.putManifest("docker.io/library/mine", "v1", image.manifest);
    const error = await errorOf(refused);
    expect([refused.status, error.code]).toEqual([405, "UNSUPPORTED"]);
    expect(error.message).toContain("belongs to the upstream docker.io");
    expect((await api.request("POST", "quay.io/some/thing/blobs/uploads/")).status).toBe(405);
    expect((await api.request("POST", "some/thing/blobs/uploads/?ns=quay.io")).status).toBe(405);
  });

  it("answer /v2/", async () => {
    const response = await api.request("GET", "/v2/");
    expect(response.status).toBe(200);
    expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
  });
});

it("reads past the body of a refused push, so that the connection goes on", async () => {
  const size = 20 * 2 ** 20;
  const refused = await api.request("PUT", "docker.io/library/x/manifests/v1", { body: Buffer.alloc(size) });
  expect(refused.status).toBe(405);
  await refused.arrayBuffer();
  const unknown = await api.request("PATCH", "a/blobs/uploads/nosuch", { body: Buffer.alloc(size) });
  expect(unknown.status).toBe(404);
  await unknown.arrayBuffer();
  expect((await api.request("GET", "/v2/")).status).toBe(200);
});

it("answers Expect: 100-continue", async () => {
  const blob = randomBlob(100_000);
  const path = `/v2/e/continue/blobs/uploads/?digest=${blob.digest}`;
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { expect: "100-continue", "content-length": blob.bytes.length };
    const asking = request(new URL(path, registry.url), { method: "POST", headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asking.once("error", reject);
    asking.once("continue", () => asking.end(blob.bytes));
    asking.flushHeaders();
  });
  expect(status).toBe(201);
});

type RawAnswer = { status: number | undefined; code: string; headers: IncomingMessage["headers"] };

/** Sends the path as it is: fetch would tidy it up first. */
async function rawRequest(method: string, path: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(registry.url);
  const asking = request({ hostname, port, path, method }).end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const body = JSON.parse(await text(response)) as { errors: { code: string }[] };
  return { status: response.statusCode, code: body.errors[0]?.code ?? "", headers: response.headers };
}
