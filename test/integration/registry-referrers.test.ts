import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeRegistry, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Document, digestOf, type Image, INDEX_TYPE, makeImage, makeIndex } from "../support/test-content.ts";

let registry: RegistryProcess;
let api: RegistryApi;
let upstream: FakeRegistry;
beforeAll(async () => {
  upstream = await startFakeRegistry();
  const entry = { registry: "up.example.com", endpoints: [upstream.url], paths: ["up"], tagTtl: "0s" };
  const patient = { ...entry, registry: "patient.example.com", paths: ["patient"], tagTtl: "1h" };
  registry = await startRegistryProcess({ upstreams: [entry, patient], upstreamPolicy: "listed" });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry.dispose();
  await upstream.close();
});

type Referrer = { mediaType: string; digest: string; size: number; artifactType?: string; annotations?: object };
type Listed = { status: number; headers: Headers; referrers: Referrer[] };

async function list(path: string): Promise<Listed> {
  const response = await api.request("GET", path);
  if (response.status !== 200) return { status: response.status, headers: response.headers, referrers: [] };
  const index = (await response.json()) as { schemaVersion: number; mediaType: string; manifests: Referrer[] };
  expect(index).toMatchObject({ schemaVersion: 2, mediaType: INDEX_TYPE });
  expect(response.headers.get("content-type")).toBe(INDEX_TYPE);
  return { status: 200, headers: response.headers, referrers: index.manifests };
}

const subjectOf = ({ mediaType, digest, bytes }: Document) => ({ mediaType, digest, size: bytes.length });
const makeReferrer = (subject: Document, more: object): Image =>
  makeImage([], { subject: subjectOf(subject), ...more });
const descriptorOf = ({ mediaType, digest, bytes }: Document) => ({ mediaType, digest, size: bytes.length });
const byDigest = (a: { digest: string }, b: { digest: string }) => (a.digest < b.digest ? -1 : 1);

describe("referrers of a local repository", () => {
  it("are listed with artifact type and annotations, whichever came first, and the push says that it was understood", async () => {
    const image = makeImage();
    const annotations = { "org.example.note": "grüße" };
    const signature = makeReferrer(image.manifest, { artifactType: "type/signature", annotations });
    const plain = makeReferrer(image.manifest, { artifactType: "" });
    for (const { manifest, blobs } of [signature, plain]) {
      for (const blob of blobs) await api.pushBlob("r/local", blob);
      const put = await api.putManifest("r/local", manifest.digest, manifest);
      expect([put.status, put.headers.get("oci-subject")]).toEqual([201, image.manifest.digest]);
    }
    const expected = [
      { ...descriptorOf(signature.manifest), artifactType: "type/signature", annotations },
      { ...descriptorOf(plain.manifest), artifactType: "application/vnd.oci.image.config.v1+json" },
    ].toSorted(byDigest);
    const path = `r/local/referrers/${image.manifest.digest}`;
    expect((await list(path)).referrers).toEqual(expected);
    await api.pushImage("r/local", "v1", image);
    const listed = await list(path);
    expect(listed.referrers).toEqual(expected);
    expect(listed.headers.get("link")).toBeNull();
    expect(listed.headers.get("oci-filters-applied")).toBeNull();
    const put = await api.putManifest("r/local", "v2", image.manifest);
    expect(put.headers.get("oci-subject")).toBeNull();
  });

  it("may be indexes, without an artifact type when they have none", async () => {
    const image = makeImage();
    await api.pushImage("r/index", "v1", image);
    const { manifest } = makeIndex({});
    const body = { ...(JSON.parse(manifest.bytes.toString()) as object), subject: subjectOf(image.manifest) };
    const bytes = Buffer.from(JSON.stringify(body));
    const index: Document = { mediaType: INDEX_TYPE, bytes, digest: digestOf(bytes) };
    expect((await api.putManifest("r/index", index.digest, index)).status).toBe(201);
    expect((await list(`r/index/referrers/${image.manifest.digest}`)).referrers).toEqual([descriptorOf(index)]);
  });

  it("are filtered by artifact type and given in pages", async () => {
    const image = makeImage();
    const referrers = Array.from({ length: 25 }, (_, index) =>
      makeReferrer(image.manifest, { artifactType: index % 5 === 0 ? "type/sbom+json" : "type/other" }),
    );
    for (const [index, referrer] of referrers.entries()) await api.pushImage("r/pages", `t${index}`, referrer);
    const digests = referrers.map(({ manifest }) => manifest.digest).toSorted();
    const start = `r/pages/referrers/${image.manifest.digest}`;
    const seen: string[] = [];
    let next: string | undefined = `${start}?n=10`;
    let pages = 0;
    for (; next !== undefined; pages += 1) {
      const page = await list(next);
      seen.push(...page.referrers.map(({ digest }) => digest));
      next = /^<([^>]+)>; rel="next"$/.exec(page.headers.get("link") ?? "")?.[1];
    }
    expect([pages, seen]).toEqual([3, digests]);

    const filtered = await list(`${start}?artifactType=${encodeURIComponent("type/sbom+json")}&n=3`);
    expect(filtered.headers.get("oci-filters-applied")).toBe("artifactType");
    expect(filtered.referrers.map(({ artifactType }) => artifactType)).toEqual(Array(3).fill("type/sbom+json"));
    const rest = await list(/<([^>]+)>/.exec(filtered.headers.get("link") ?? "")?.[1] ?? "");
    expect(rest.referrers.map(({ artifactType }) => artifactType)).toEqual(Array(2).fill("type/sbom+json"));
    expect(rest.headers.get("link")).toBeNull();
    const none = await list(`${start}?artifactType=type/none`);
    expect([none.referrers, none.headers.get("oci-filters-applied")]).toEqual([[], "artifactType"]);
  });

  it("with annotations as large as a manifest may be come in pages that clients can read", async () => {
    const image = makeImage();
    const annotations = { large: "x".repeat(1.5 * 2 ** 20) };
    for (const tag of ["a", "b", "c"])
      await api.pushImage("r/large", tag, makeReferrer(image.manifest, { annotations }));
    const first = await list(`r/large/referrers/${image.manifest.digest}`);
    expect(first.referrers).toHaveLength(2);
    const second = await list(/<([^>]+)>/.exec(first.headers.get("link") ?? "")?.[1] ?? "");
    expect(second.referrers).toHaveLength(1);
    expect(new Set([...first.referrers, ...second.referrers].map(({ digest }) => digest)).size).toBe(3);
  });

  it("are empty for what nobody knows, and 400 for what is no digest", async () => {
    const unknown = await list(`r/nowhere/referrers/${digestOf(Buffer.from("x"))}`);
    expect([unknown.status, unknown.referrers]).toEqual([200, []]);
    expect((await list(`r/nowhere/referrers/${digestOf(Buffer.from("x"), "sha512")}`)).referrers).toEqual([]);
    for (const digest of ["sha256:short", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e"]) {
      const refused = await api.request("GET", `r/nowhere/referrers/${digest}`);
      expect([digest, refused.status, (await errorOf(refused)).code]).toEqual([digest, 400, "DIGEST_INVALID"]);
    }
    const wrong = await api.request("GET", `r/nowhere/referrers/${digestOf(Buffer.from("x"))}?n=many`);
    expect(wrong.status).toBe(400);
    const post = await api.request("POST", `r/nowhere/referrers/${digestOf(Buffer.from("x"))}`);
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET"]);
  });

  it("are no longer listed once deleted, and their subject's deletion leaves no error", async () => {
    const image = makeImage();
    const [a, b] = [makeReferrer(image.manifest, {}), makeReferrer(image.manifest, {})];
    await api.pushImage("r/delete", "v1", image);
    await api.pushImage("r/delete", "a", a);
    await api.pushImage("r/delete", "b", b);
    await api.request("DELETE", `r/delete/manifests/${a.manifest.digest}`);
    const path = `r/delete/referrers/${image.manifest.digest}`;
    expect((await list(path)).referrers.map(({ digest }) => digest)).toEqual([b.manifest.digest]);
    await api.request("DELETE", `r/delete/manifests/${image.manifest.digest}`);
    expect((await list(path)).status).toBe(200);
  });
});

describe("referrers of an upstream's repository", () => {
  const image = makeImage([]);
  const { digest } = image.manifest;
  const referrer = (name: string, artifactType: string): Referrer => ({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: digestOf(Buffer.from(name)),
    size: 100,
    artifactType,
    annotations: { name },
  });
  const a = referrer("a", "type/a");
  const b = referrer("b", "type/b");
  const indexOf = (manifests: readonly Referrer[]) =>
    JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests });

  /** The image at any path, and referrers as given: through the API or, with `tag`, by the fallback tag. */
  function serve({ api: pages, tag }: { api?: readonly (readonly Referrer[])[]; tag?: readonly Referrer[] }): void {
    upstream.answer((request, response) => {
      const url = new URL(request.url ?? "", "http://upstream");
      const type = { "content-type": INDEX_TYPE };
      if (url.pathname.includes("/referrers/") && pages) {
        const page = Number(url.searchParams.get("page") ?? 0);
        const more = page + 1 < pages.length ? { link: `<${url.pathname}?page=${page + 1}>; rel="next"` } : {};
        return void response.writeHead(200, { ...type, ...more }).end(indexOf(pages[page] ?? []));
      }
      if (url.pathname.endsWith(`/manifests/${digest.replace(":", "-")}`) && tag) {
        return void response.writeHead(200, type).end(indexOf(tag));
      }
      if (url.pathname.endsWith(`/manifests/${digest}`)) {
        return void response.writeHead(200, { "content-type": image.manifest.mediaType }).end(image.manifest.bytes);
      }
      return void response.writeHead(404).end();
    });
  }
  const down = () => upstream.answer((_request, response) => void response.writeHead(500).end());
  const asked = (pattern: RegExp) => upstream.requests.filter((request) => pattern.test(request)).length;

  it("are those that its API lists, all pages of it, filtered here", async () => {
    serve({ api: [[a], [b, a]] });
    const listed = await list(`up/paged/referrers/${digest}`);
    expect(listed.referrers).toEqual([a, b].toSorted(byDigest));
    expect(listed.headers.get("cache-status")).toBe("cache-registry; fwd=miss");
    const filtered = await list(`paged/referrers/${digest}?ns=up.example.com&artifactType=type/b`);
    expect(filtered.referrers).toEqual([b]);
    expect(filtered.headers.get("oci-filters-applied")).toBe("artifactType");
    expect(filtered.headers.get("oci-namespace")).toBe("up.example.com");
  });

  it("are those of the fallback tag where there is no API, and none where there is no tag either", async () => {
    serve({ tag: [b, a] });
    expect((await list(`up/tagged/referrers/${digest}`)).referrers).toEqual([a, b].toSorted(byDigest));
    serve({});
    const none = await list(`up/untagged/referrers/${digest}`);
    expect([none.status, none.referrers]).toEqual([200, []]);
  });

  it("are still known, with a warning, while it is down, as long as their subject is held", async () => {
    serve({ api: [[a]] });
    await api.get(`up/outage/manifests/${digest}`);
    expect((await list(`up/outage/referrers/${digest}`)).referrers).toEqual([a]);
    down();
    const stale = await list(`up/outage/referrers/${digest}`);
    expect(stale.referrers).toEqual([a]);
    expect(stale.headers.get("warning")).toMatch(/^299 - "served from cache: upstream could not confirm the referrers/);
    await registry.stop();
    await registry.start();
    expect((await list(`up/outage/referrers/${digest}`)).referrers).toEqual([a]);
    expect((await list(`up/never-seen/referrers/${digest}`)).status).toBe(502);
    serve({ api: [[a, b]] });
    // The failure is remembered for ten seconds: until then the old answer stands.
    await expect
      .poll(async () => (await list(`up/outage/referrers/${digest}`)).referrers.length, { timeout: 20_000 })
      .toBe(2);
  });

  it("are asked for once in `tagTtl`, however often they are wanted", async () => {
    serve({ api: [[a]] });
    await api.get(`patient/quiet/manifests/${digest}`);
    for (let round = 0; round < 5; round += 1) {
      expect((await list(`patient/quiet/referrers/${digest}`)).referrers).toEqual([a]);
    }
    expect(asked(/^GET \/v2\/quiet\/referrers\//)).toBe(1);
  });

  it("that are nonsense are the upstream's failure", async () => {
    upstream.answer(
      (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
    );
    expect((await list(`up/nonsense/referrers/${digest}`)).status).toBe(502);
    upstream.answer((_request, response) => void response.writeHead(200, { "content-type": INDEX_TYPE }).end("[]"));
    expect((await list(`up/nonsense-too/referrers/${digest}`)).status).toBe(502);
    const endless = { "content-type": INDEX_TYPE, link: '<?page=1>; rel="next"' };
    upstream.answer((_request, response) => void response.writeHead(200, endless).end(indexOf([a])));
    expect((await list(`up/endless/referrers/${digest}`)).status).toBe(502);
    expect(asked(/\/endless\/referrers\//)).toBeLessThanOrEqual(100);
  });
});
