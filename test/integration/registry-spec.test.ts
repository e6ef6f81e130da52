import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import {
  blobOf,
  descriptorOf,
  digestOf,
  documentOf,
  INDEX_TYPE,
  MANIFEST_TYPE,
  makeImage,
  makeIndex,
  randomBlob,
} from "../support/test-content.ts";

let registry: RegistryProcess;
let api: RegistryApi;
beforeAll(async () => {
  const gc = { grace: "2s", untagged: { local: "delete", after: "2s" } };
  registry = await startRegistryProcess({ gc });
  api = createRegistryApi(registry.url);
});
afterAll(() => registry.dispose());

const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";

/** Until its bytes are gone. Asking the registry for them would keep them. */
function collected(digest: string): Promise<void> {
  return eventually(() => expect(existsSync(`${registry.data}/blobs/${digest.replace(":", "/")}`)).toBe(false));
}

describe("digest algorithms", () => {
  it("a session is told of by digest-algorithm are used, others are 400", async () => {
    const blob = randomBlob(200_000);
    const digest = digestOf(blob.bytes, "sha512");
    const begun = await api.request("POST", "s/algorithm/blobs/uploads/?digest-algorithm=sha512");
    expect(begun.status).toBe(202);
    const location = begun.headers.get("location") ?? "";
    expect((await api.request("PATCH", location, { body: blob.bytes.subarray(0, 100_000) })).status).toBe(202);
    const rest = { body: blob.bytes.subarray(100_000) };
    expect((await api.request("PUT", `${location}?digest=${digest}`, rest)).status).toBe(201);
    expect(await api.get(`s/algorithm/blobs/${digest}`)).toEqual(blob.bytes);
    for (const algorithm of ["md5", "sha384", "", "SHA512"]) {
      const refused = await api.request("POST", `s/algorithm/blobs/uploads/?digest-algorithm=${algorithm}`);
      expect([algorithm, refused.status, (await errorOf(refused)).code]).toEqual([algorithm, 400, "DIGEST_INVALID"]);
    }
  });

  it("of a manifest are those of the reference, also below tags", async () => {
    const image = makeImage();
    for (const blob of image.blobs) await api.pushBlob("s/sha512", blob);
    const digest = digestOf(image.manifest.bytes, "sha512");
    const put = await api.putManifest("s/sha512", `${digest}?tag=v1`, image.manifest);
    expect([put.status, put.headers.get("docker-content-digest")]).toEqual([201, digest]);
    for (const reference of ["v1", digest]) {
      const head = await api.request("HEAD", `s/sha512/manifests/${reference}`);
      expect([head.status, head.headers.get("docker-content-digest")]).toEqual([200, digest]);
    }
    expect((await api.request("HEAD", `s/sha512/manifests/${image.manifest.digest}`)).status).toBe(404);
    const wrong = await api.putManifest("s/sha512", digestOf(Buffer.from("x"), "sha512"), image.manifest);
    expect([wrong.status, (await errorOf(wrong)).code]).toEqual([400, "DIGEST_INVALID"]);
  });
});

describe("tags of a push by digest", () => {
  it("are all set, and each is confirmed in a header of its own", async () => {
    const image = makeImage();
    await api.pushImage("s/tags", "old", image);
    const tags = Array.from({ length: 40 }, (_, index) => `1.${index}`);
    const query = [...tags, "1.0"].map((tag) => `tag=${tag}`).join("&");
    const put = await api.putManifest("s/tags", `${image.manifest.digest}?${query}`, image.manifest);
    expect([put.status, put.headers.get("oci-tag")]).toEqual([201, tags.join(", ")]);
    const listed = JSON.parse((await api.get("s/tags/tags/list")).toString()) as { tags: string[] };
    expect(listed.tags).toEqual([...tags, "old"].toSorted());
    const untagged = await api.putManifest("s/tags", image.manifest.digest, image.manifest);
    expect(untagged.headers.get("oci-tag")).toBeNull();
  });

  it("are set together or not at all", async () => {
    const image = makeImage();
    await api.pushImage("s/all-or-none", "old", image);
    const put = (query: string) =>
      api.putManifest("s/all-or-none", `${image.manifest.digest}?${query}`, image.manifest);
    const bad = await put("tag=fine&tag=-bad");
    expect([bad.status, (await errorOf(bad)).code]).toEqual([400, "MANIFEST_INVALID"]);
    const many = await put(Array.from({ length: 65 }, (_, index) => `tag=t${index}`).join("&"));
    expect([many.status, (await errorOf(many)).code]).toEqual([414, "MANIFEST_INVALID"]);
    const listed = JSON.parse((await api.get("s/all-or-none/tags/list")).toString()) as { tags: string[] };
    expect(listed.tags).toEqual(["old"]);
  });

  it("beside a tag in the path are not taken, and not confirmed", async () => {
    const image = makeImage();
    await api.pushImage("s/beside", "old", image);
    const put = await api.putManifest("s/beside", "new?tag=other", image.manifest);
    expect([put.status, put.headers.get("oci-tag")]).toEqual([201, null]);
    expect((await api.request("HEAD", "s/beside/manifests/other")).status).toBe(404);
  });
});

describe("mounts", () => {
  it("without a source take the blob from any local repository", async () => {
    const blob = randomBlob(1_000);
    await api.pushBlob("s/source", blob);
    const mounted = await api.request("POST", `s/target/blobs/uploads/?mount=${blob.digest}`);
    expect([mounted.status, mounted.headers.get("docker-content-digest")]).toEqual([201, blob.digest]);
    expect(await api.get(`s/target/blobs/${blob.digest}`)).toEqual(blob.bytes);
    const unknown = await api.request("POST", `s/target/blobs/uploads/?mount=${randomBlob(10).digest}`);
    expect(unknown.status).toBe(202);
  });
});

describe("manifests", () => {
  it("of Docker come back as they are, single and as a list", async () => {
    const config = randomBlob(200);
    const layer = randomBlob(1_000);
    const manifest = documentOf(DOCKER_MANIFEST, {
      config: descriptorOf("application/vnd.docker.container.image.v1+json", config),
      layers: [descriptorOf("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
    });
    await api.pushImage("s/docker", "single", { manifest, blobs: [config, layer] });
    const platform = { os: "linux", architecture: "amd64" };
    const list = documentOf(DOCKER_LIST, { manifests: [{ ...descriptorOf(DOCKER_MANIFEST, manifest), platform }] });
    expect((await api.putManifest("s/docker", "list", list)).status).toBe(201);
    for (const [tag, { mediaType, bytes, digest }] of Object.entries({ single: manifest, list })) {
      const pulled = await api.request("GET", `s/docker/manifests/${tag}`);
      expect(pulled.headers.get("content-type")).toBe(mediaType);
      expect(pulled.headers.get("docker-content-digest")).toBe(digest);
      expect(Buffer.from(await pulled.arrayBuffer()).equals(bytes)).toBe(true);
    }
  });

  it("of artifacts, with the empty config, unknown fields, data and no layers, come back as they are", async () => {
    const empty = blobOf(Buffer.from("{}"));
    const config = { ...descriptorOf("application/vnd.oci.empty.v1+json", empty), data: "e30=" };
    const chart = randomBlob(500);
    const artifacts = [
      documentOf(MANIFEST_TYPE, { artifactType: "type/sbom", config, layers: [config], future: { a: [1] } }),
      documentOf(MANIFEST_TYPE, { artifactType: "type/none", config, layers: [] }),
      documentOf(MANIFEST_TYPE, {
        config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
        layers: [descriptorOf("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart)],
      }),
    ];
    for (const [index, manifest] of artifacts.entries()) {
      await api.pushImage("s/artifacts", `a${index}`, { manifest, blobs: [empty, chart] });
      expect(await api.get(`s/artifacts/manifests/a${index}`)).toEqual(manifest.bytes);
    }
  });

  it("that are indexes may be empty, nested, and lack children, which are kept once they come", async () => {
    const here = makeImage();
    const late = makeImage();
    await api.pushImage("s/sparse", here.manifest.digest, here);
    const index = makeIndex({ amd64: here, arm64: late });
    expect((await api.putManifest("s/sparse", index.manifest.digest, index.manifest)).status).toBe(201);
    const nested = documentOf(INDEX_TYPE, { manifests: [descriptorOf(INDEX_TYPE, index.manifest)] });
    expect((await api.putManifest("s/sparse", "v1", nested)).status).toBe(201);
    expect((await api.putManifest("s/sparse", "empty", documentOf(INDEX_TYPE, { manifests: [] }))).status).toBe(201);
    expect((await api.request("HEAD", `s/sparse/manifests/${late.manifest.digest}`)).status).toBe(404);
    await api.pushImage("s/sparse", late.manifest.digest, late);
    const stray = makeImage();
    await api.pushImage("s/sparse", stray.manifest.digest, stray);
    await collected(stray.manifest.digest);
    for (const { manifest, blobs } of [here, late]) {
      expect(await api.get(`s/sparse/manifests/${manifest.digest}`)).toEqual(manifest.bytes);
      for (const { bytes, digest } of blobs) expect(await api.get(`s/sparse/blobs/${digest}`)).toEqual(bytes);
    }
  });

  it("may name non-distributable layers that are not there; those that are stay as long as the manifest", async () => {
    const config = randomBlob(100);
    const [pushed, absent, stray] = [randomBlob(1_000), randomBlob(1_000), randomBlob(1_000)];
    const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    const restricted = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    const manifest = documentOf(MANIFEST_TYPE, {
      config: descriptorOf("application/vnd.oci.image.config.v1+json", config),
      layers: [
        { ...descriptorOf(foreign, absent), urls: ["https://example.com/layer"] },
        descriptorOf(restricted, pushed),
      ],
    });
    await api.pushImage("s/foreign", "v1", { manifest, blobs: [config, pushed, stray] });
    await collected(stray.digest);
    expect(await api.get(`s/foreign/blobs/${pushed.digest}`)).toEqual(pushed.bytes);
    await api.request("DELETE", "s/foreign/manifests/v1");
    await collected(pushed.digest);
  });

  it("of nearly 4 MiB are taken", async () => {
    const image = makeImage([], { annotations: { filler: "x".repeat(4 * 2 ** 20 - 2_000) } });
    await api.pushImage("s/large", "v1", image);
    expect(await api.get("s/large/manifests/v1")).toEqual(image.manifest.bytes);
  });
});

describe("a registry with push.requireBlobs: false", () => {
  it("takes sparse images", async () => {
    const lenient = await startRegistryProcess({ push: { requireBlobs: false } });
    try {
      const { manifest, blobs } = makeImage();
      const other = createRegistryApi(lenient.url);
      expect((await other.putManifest("sparse/image", "v1", manifest)).status).toBe(201);
      expect(await other.get("sparse/image/manifests/v1")).toEqual(manifest.bytes);
      expect((await other.request("HEAD", `sparse/image/blobs/${blobs[0]?.digest}`)).status).toBe(404);
    } finally {
      await lenient.dispose();
    }
  });
});
