import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, digestOf, INDEX_TYPE, MANIFEST_TYPE, makeImage, randomBlob } from "../support/test-content.ts";

const MiB = 2 ** 20;
let registry: RegistryProcess;
let api: RegistryApi;
let secret: Blob;

beforeAll(async () => {
  registry = await startRegistryProcess({ upstreamPolicy: "listed" });
  api = createRegistryApi(registry.url);
  secret = randomBlob(1_000);
  await api.pushImage("team/app", "v1", makeImage());
  await api.pushBlob("private/app", secret);
});
afterAll(() => registry?.dispose());

describe("content of another repository", () => {
  it("is not read, found or mounted by who only knows its digest", async () => {
    const { digest } = secret;
    for (const method of ["GET", "HEAD"]) {
      expect((await api.request(method, `team/app/blobs/${digest}`)).status).toBe(404);
      expect((await api.request(method, `nobody/there/blobs/${digest}`)).status).toBe(404);
      expect((await api.request(method, `team/app/manifests/${digest}`)).status).toBe(404);
    }
    const mount = await api.request("POST", `team/app/blobs/uploads/?mount=${digest}&from=nobody/there`);
    expect(mount.status).toBe(202);
    await api.request("DELETE", mount.headers.get("location") ?? "");
    // Nor by a manifest that names it.
    const stealing = makeImage([secret]);
    const [config] = stealing.blobs;
    if (config) await api.pushBlob("team/app", config);
    const refused = await api.putManifest("team/app", "stolen", stealing.manifest);
    expect([refused.status, (await errorOf(refused)).code]).toEqual([404, "MANIFEST_BLOB_UNKNOWN"]);
    expect((await api.request("GET", `team/app/blobs/${digest}`)).status).toBe(404);
    // As a referrer's subject it only has to be named.
    expect((await api.request("DELETE", `team/app/blobs/${digest}`)).status).toBe(404);
    expect(await api.get(`private/app/blobs/${digest}`)).toEqual(secret.bytes);
  });
});

describe("manifests that are bombs", () => {
  const put = (bytes: Buffer, type = MANIFEST_TYPE) =>
    api.putManifest("team/bomb", "v1", { bytes, digest: digestOf(bytes), mediaType: type });
  const descriptor = { mediaType: "application/octet-stream", digest: digestOf(Buffer.from("x")), size: 1 };
  const manifestWith = (more: object) => ({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptor,
    layers: [],
    ...more,
  });

  it.each<[what: string, bytes: () => Buffer]>([
    ["nested a million deep", () => Buffer.from("[".repeat(1_000_000))],
    [
      "with a million nested annotations",
      () => Buffer.from(`{"schemaVersion":2,"x":${'{"a":'.repeat(500_000)}1${"}".repeat(500_000)}}`),
    ],
    [
      "with 50,000 times the same layer that is missing",
      () => Buffer.from(JSON.stringify(manifestWith({ layers: Array(25_000).fill(descriptor) }))),
    ],
    [
      "that are no UTF-8",
      () => Buffer.concat([Buffer.from('{"schemaVersion":2,"x":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
    ],
    [
      "with a negative size",
      () => Buffer.from(JSON.stringify(manifestWith({ layers: [{ ...descriptor, size: -1 }] }))),
    ],
    [
      "with a size beyond all numbers",
      () => Buffer.from(JSON.stringify(manifestWith({ layers: [{ ...descriptor, size: 1e300 }] }))),
    ],
    [
      "with a digest that is a path",
      () => Buffer.from(JSON.stringify(manifestWith({ layers: [{ ...descriptor, digest: "sha256:../../x" }] }))),
    ],
    ["that are null", () => Buffer.from("null")],
    ["that are empty", () => Buffer.alloc(0)],
    ["that pollute prototypes", () => Buffer.from('{"__proto__":{"schemaVersion":2,"config":{},"layers":[]}}')],
  ])("%s are refused in short time", async (_what, bytes) => {
    const started = performance.now();
    const answer = await put(bytes());
    expect([400, 404, 413]).toContain(answer.status);
    expect((await errorOf(answer)).code).toMatch(/^MANIFEST_|^DIGEST_INVALID$|^SIZE_INVALID$/);
    expect(performance.now() - started).toBeLessThan(5_000);
    expect((await api.request("GET", "team/bomb/manifests/v1")).status).toBe(404);
  });

  it("with 20,000 children are taken as an index, listed and deleted in bounded time and memory", async () => {
    const manifests = Array.from({ length: 20_000 }, (_, child) => ({
      mediaType: MANIFEST_TYPE,
      digest: digestOf(Buffer.from(`child ${child}`)),
      size: 100,
    }));
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests }));
    const started = performance.now();
    const pushed = await put(bytes, INDEX_TYPE);
    expect(pushed.status).toBe(201);
    expect(await api.get("team/bomb/manifests/v1")).toEqual(bytes);
    expect((await api.request("DELETE", `team/bomb/manifests/${digestOf(bytes)}`)).status).toBe(202);
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(registry.residentBytes()).toBeLessThan(400 * MiB);
  });

  it("of index in index, each naming the other's tag, are only what they say", async () => {
    const inner = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [] }));
    expect((await put(inner, INDEX_TYPE)).status).toBe(201);
    let previous = inner;
    for (let depth = 0; depth < 50; depth += 1) {
      const child = { mediaType: INDEX_TYPE, digest: digestOf(previous), size: previous.length };
      previous = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [child, child] }));
      expect((await put(previous, INDEX_TYPE)).status).toBe(201);
    }
    expect((await api.request("DELETE", "team/bomb/manifests/v1")).status).toBe(202);
  });
});

describe("media types that lie", () => {
  it.each<[what: string, type: string, document: object]>([
    ["manifests and layers in one", INDEX_TYPE, { mediaType: INDEX_TYPE, manifests: [], layers: [], config: {} }],
    ["an index called a manifest", MANIFEST_TYPE, { mediaType: INDEX_TYPE, manifests: [] }],
    ["a manifest called an index", INDEX_TYPE, { mediaType: MANIFEST_TYPE, layers: [] }],
    [
      "schema 1",
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      { schemaVersion: 1, fsLayers: [], signatures: [] },
    ],
    ["HTML", "text/html", { mediaType: "text/html" }],
  ])("%s: refused", async (_what, mediaType, document) => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...document }));
    const answer = await api.putManifest("team/liar", "v1", { bytes, digest: digestOf(bytes), mediaType });
    expect([answer.status, (await errorOf(answer)).code]).toEqual([400, "MANIFEST_INVALID"]);
  });
});
