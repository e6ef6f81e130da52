import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Digest, hexOf } from "@cache-registry/core/digest";
import { parseImageReference } from "@cache-registry/core/image-reference";
import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createManifestDocuments } from "../content/manifest-documents.ts";
import { upstreamRepository } from "../content/repository.ts";
import { createStoreManifest } from "../content/store-manifest.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createImportContent, type ImportContent } from "./import-content.ts";
import { planImport, type Renaming } from "./import-plan.ts";
import { openFolder } from "./layout-folder.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const REF_NAME = "org.opencontainers.image.ref.name";

describe("planImport", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "creg-import-"));
    await mkdir(join(root, "blobs", "sha256"), { recursive: true });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const pathOf = (digest: Digest) => join(root, "blobs", "sha256", hexOf(digest));
  async function add(bytes: Buffer, mediaType = "x/y") {
    const digest = digestOfBytes(bytes);
    await writeFile(pathOf(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }
  const document = (mediaType: string, value: object) =>
    add(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...value })), mediaType);
  const image = async (name: string, more: object = {}) =>
    document(MANIFEST, {
      config: await add(Buffer.from(`config ${name}`)),
      layers: [await add(Buffer.from(name))],
      ...more,
    });
  async function plan(manifests: object[], renamings: Renaming[] = []) {
    await writeFile(join(root, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
    return planImport(openFolder(root), renamings);
  }
  const named = (descriptor: object, name: string, key = REF_NAME) => ({ ...descriptor, annotations: { [key]: name } });
  const to = (name: string) => parseImageReference(name) ?? { registry: "", repository: "" };

  it("knows images by their full names, of whoever wrote the layout", async () => {
    const app = await image("app");
    const { images, nameless } = await plan([
      named(app, "quay.io/team/app:v1", "io.containerd.image.name"),
      named(app, "localhost:5000/app@sha256:".concat(hexOf(app.digest))),
      named(await image("other"), "docker.io/library/nginx"),
    ]);
    expect(images.map(({ reference }) => [reference?.registry, reference?.repository, reference?.tag])).toEqual([
      ["quay.io", "team/app", "v1"],
      ["localhost:5000", "app", undefined],
      ["docker.io", "library/nginx", "latest"],
    ]);
    expect(nameless).toEqual([]);
    await expect(plan([named(app, "nginx:1.27"), named(app, "v1"), app])).rejects.toThrow("--as");
  });

  it("renames one of many, or the only one", async () => {
    const [a, b] = [await image("a"), await image("b")];
    const { images } = await plan([named(a, "v1"), named(b, "v2")], [{ from: "v2", to: to("ghcr.io/x/y:z") }]);
    expect(images.map(({ image: { root: top }, reference }) => [top.digest, reference?.tag])).toEqual([
      [b.digest, "z"],
    ]);
    const single = await plan([a], [{ from: undefined, to: to("ghcr.io/x/y:z") }]);
    expect(single.images).toHaveLength(1);
    await expect(plan([a, b], [{ from: undefined, to: to("ghcr.io/x/y:z") }])).rejects.toThrow("--as");
  });

  it("brings children first, sparse indexes, and what refers to an image where that image goes", async () => {
    const child = await image("child");
    const absent = { ...child, digest: digestOfBytes(Buffer.from("absent")) };
    const index = await document(INDEX, { manifests: [child, absent] });
    const signature = await image("signature", { subject: child });
    const second = await image("signature of the signature", { subject: signature });
    const { images, nameless } = await plan([second, signature, named(index, "docker.io/a/b:1"), await image("alone")]);
    expect(images.map(({ reference }) => reference?.tag)).toEqual(["1", undefined, undefined]);
    expect(images[0]?.image.manifests.map(({ digest }) => digest)).toEqual([child.digest, index.digest]);
    expect(images.slice(1).map(({ image: each }) => each.root.digest)).toEqual([signature.digest, second.digest]);
    expect(images.every(({ name }) => name.repository === "a/b")).toBe(true);
    expect(nameless).toHaveLength(1);
  });

  it("names the digest of what is missing, damaged or of another size", async () => {
    const app = await image("app");
    const layer = digestOfBytes(Buffer.from("app"));
    await writeFile(pathOf(layer), "longer");
    await expect(plan([named(app, "docker.io/a/b:1")])).rejects.toThrow(`${layer}: the blob has 6 bytes instead of 3`);
    await rm(pathOf(layer));
    await expect(plan([named(app, "docker.io/a/b:1")])).rejects.toThrow(`${layer}: the blob is not in the archive`);
    await writeFile(pathOf(app.digest), "{}");
    await expect(plan([named(app, "docker.io/a/b:1")])).rejects.toThrow(`${app.digest}: the bytes are others`);
    await rm(pathOf(app.digest));
    await expect(plan([named(app, "docker.io/a/b:1")])).rejects.toThrow(`${app.digest}: the manifest is not`);
    const hollow = await document(INDEX, { manifests: [app] });
    await expect(plan([named(hollow, "docker.io/a/b:1")])).rejects.toThrow(
      `${hollow.digest}: no manifest of this index`,
    );
    await writeFile(join(root, "index.json"), "[]");
    await expect(planImport(openFolder(root), [])).rejects.toThrow("not that of an OCI image layout");
    await rm(join(root, "index.json"));
    await expect(planImport(openFolder(root), [])).rejects.toThrow("index.json cannot be read");
  });
});

describe("createImportContent", () => {
  let stores: TestStores;
  let content: ImportContent;
  const [here, there] = [upstreamRepository("docker.io", "library/app"), upstreamRepository("quay.io", "app")];
  beforeEach(async () => {
    stores = await openTestStores();
    const documents = createManifestDocuments(stores.blobs, stores.digestLock);
    content = createImportContent({ ...stores, storeManifest: createStoreManifest({ ...stores, documents }) });
  });
  afterEach(() => stores.dispose());

  async function* sending(text: string): AsyncGenerator<Buffer> {
    yield Buffer.from(text);
  }
  const digestOf = (text: string) => digestOfBytes(Buffer.from(text));
  const manifestOf = (layer: string) =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: "x/y", digest: digestOf("config"), size: 6 },
        layers: [{ mediaType: "x/y", digest: digestOf(layer), size: layer.length }],
      }),
    );

  it("takes blobs that are what they are called, and keeps nothing of others", async () => {
    await content.blob(here, digestOf("layer"), sending("layer"));
    expect(await stores.metadata.isLinked(here.name, digestOf("layer"))).toBe(true);
    await expect(content.blob(here, digestOf("other"), sending("layer"))).rejects.toMatchObject({
      code: "DIGEST_INVALID",
    });
    expect(await stores.blobs.stat(digestOf("other"))).toBeUndefined();
  });

  it("links what another repository holds, when the bytes are there", async () => {
    expect(await content.hasBlob(there, digestOf("layer"))).toBe(false);
    await content.blob(here, digestOf("layer"), sending("layer"));
    expect(await content.hasBlob(there, digestOf("layer"))).toBe(true);
    expect(await stores.metadata.isLinked(there.name, digestOf("layer"))).toBe(true);
    await stores.blobs.remove(digestOf("layer"), 1);
    expect(await content.hasBlob(there, digestOf("layer"))).toBe(false);
  });

  it("takes a manifest when its blobs are there, tags it, and pins it without an end", async () => {
    const bytes = manifestOf("layer");
    const digest = digestOfBytes(bytes);
    const put = () => content.manifest(here, { digest, bytes, mediaType: MANIFEST, tags: ["v1"] });
    await content.blob(here, digestOf("layer"), sending("layer"));
    await expect(put()).rejects.toMatchObject({
      code: "MANIFEST_BLOB_UNKNOWN",
      detail: [{ digest: digestOf("config") }],
    });
    await content.blob(here, digestOf("config"), sending("config"));
    expect(await content.hasManifest(here, digest)).toBe(false);
    await put();
    expect(await content.hasManifest(here, digest)).toBe(true);
    await expect(
      content.manifest(here, { digest: digestOf("x"), bytes, mediaType: MANIFEST, tags: [] }),
    ).rejects.toMatchObject({ code: "DIGEST_INVALID" });
    const reference = { registry: "docker.io", repository: "library/app", tag: "v1" };
    await content.pin(reference, here, "import:x");
    expect(await stores.metadata.image("docker.io/library/app:v1")).toMatchObject({
      owners: ["import:x"],
      pinnedUntil: Date.UTC(9999, 11, 31),
    });
    await expect(content.pin({ ...reference, tag: "v2" }, here, "import:x")).rejects.toMatchObject({
      code: "MANIFEST_UNKNOWN",
    });
  });
});
