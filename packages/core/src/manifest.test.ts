import { describe, expect, it } from "vitest";
import type { Descriptor } from "./descriptor.ts";
import { parseDigest } from "./digest.ts";
import { isCodedError } from "./errors.ts";
import { MAX_MANIFEST_BYTES, parseManifest, referencedDigests } from "./manifest.ts";
import { MEDIA_TYPES } from "./media-type.ts";

function descriptor(digit: string, mediaType: string = MEDIA_TYPES.ociLayerGzip, size = 10): Descriptor {
  return { mediaType, digest: parseDigest(`sha256:${digit.repeat(64)}`), size };
}

const config = descriptor("c", MEDIA_TYPES.ociConfig);
const layer = descriptor("1");
const image = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] };
const child = { ...descriptor("d", MEDIA_TYPES.ociManifest), platform: { os: "linux", architecture: "arm64" } };
const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [child] };

function bytes(value: unknown): Uint8Array {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
}

function refusal(value: unknown, contentType?: string): { status: number; message: string } {
  try {
    parseManifest(bytes(value), contentType);
  } catch (error) {
    if (isCodedError(error) && error.code === "MANIFEST_INVALID")
      return { status: error.status, message: error.message };
    throw error;
  }
  throw new Error("accepted");
}

describe("parseManifest", () => {
  it("reads an image manifest", () => {
    expect(parseManifest(bytes(image), MEDIA_TYPES.ociManifest)).toEqual({
      mediaType: MEDIA_TYPES.ociManifest,
      kind: "manifest",
      blobs: [config, layer],
      nonDistributable: [],
      manifests: [],
      subject: undefined,
      artifactType: MEDIA_TYPES.ociConfig,
      annotations: {},
    });
  });

  it("reads an index, also a nested, an empty and a sparse one", () => {
    const parsed = parseManifest(bytes(index), MEDIA_TYPES.ociIndex);
    expect(parsed).toMatchObject({ kind: "index", manifests: [child], blobs: [], artifactType: undefined });
    const nested = { ...index, manifests: [child, descriptor("e", MEDIA_TYPES.ociIndex)] };
    expect(parseManifest(bytes(nested), undefined).manifests).toHaveLength(2);
    expect(parseManifest(bytes({ ...index, manifests: [] }), undefined).manifests).toEqual([]);
  });

  it("reads an artifact with its subject", () => {
    const subject = descriptor("5", MEDIA_TYPES.ociManifest);
    const artifact = { ...image, artifactType: "application/spdx+json", subject, annotations: { a: "b" } };
    const parsed = parseManifest(bytes(artifact), undefined);
    expect(parsed).toMatchObject({ subject, artifactType: "application/spdx+json", annotations: { a: "b" } });
    expect(referencedDigests(parsed)).not.toContain(subject.digest);
  });

  it.each([
    [MEDIA_TYPES.ociManifest, image],
    [MEDIA_TYPES.ociIndex, index],
    [MEDIA_TYPES.dockerManifest, { ...image, mediaType: MEDIA_TYPES.dockerManifest }],
    [MEDIA_TYPES.dockerList, { ...index, mediaType: MEDIA_TYPES.dockerList }],
  ])("takes the type %s from the header or from the document", (mediaType, document) => {
    const { mediaType: _, ...untyped } = document;
    expect(parseManifest(bytes(document), `${mediaType.toUpperCase()}; charset=utf-8`).mediaType).toBe(mediaType);
    expect(parseManifest(bytes(untyped), mediaType).mediaType).toBe(mediaType);
    for (const generic of [undefined, "", "application/json", "text/plain", "application/octet-stream"]) {
      expect(parseManifest(bytes(document), generic).mediaType).toBe(mediaType);
    }
  });

  it("takes the shape where neither names a type", () => {
    const { mediaType: _, ...untypedImage } = image;
    const { mediaType: __, ...untypedIndex } = index;
    expect(parseManifest(bytes(untypedImage), undefined).mediaType).toBe(MEDIA_TYPES.ociManifest);
    expect(parseManifest(bytes(untypedIndex), "application/json").mediaType).toBe(MEDIA_TYPES.ociIndex);
  });

  it("leaves non-distributable layers out of the blobs, and lists each digest once", () => {
    const foreign = descriptor("f", MEDIA_TYPES.dockerForeignLayer);
    const restricted = descriptor("e", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    const parsed = parseManifest(bytes({ ...image, layers: [foreign, layer, restricted, layer] }), undefined);
    expect(parsed.blobs).toEqual([config, layer, layer]);
    expect(parsed.nonDistributable).toEqual([foreign, restricted]);
    expect(referencedDigests(parsed)).toEqual([config.digest, layer.digest]);
  });

  it("takes an empty artifact type as a missing one", () => {
    const typed = (value: object, artifactType: string) => parseManifest(bytes({ ...value, artifactType }), undefined);
    expect(typed(image, "").artifactType).toBe(config.mediaType);
    expect(typed(image, "type/sbom").artifactType).toBe("type/sbom");
    expect(typed(index, "").artifactType).toBeUndefined();
    expect(typed(index, "type/set").artifactType).toBe("type/set");
  });

  it("keeps fields it does not know out of the way", () => {
    const extended = {
      ...image,
      layers: [{ ...layer, urls: ["https://example.com"], data: "e30=" }],
      future: { a: [] },
    };
    expect(parseManifest(bytes(extended), undefined).blobs).toEqual([config, layer]);
  });
});

describe("parseManifest refuses", () => {
  it.each([
    ["both manifests and layers", { ...index, layers: [layer] }, MEDIA_TYPES.ociIndex],
    ["both manifests and config", { ...index, config }, MEDIA_TYPES.ociIndex],
    ["both, as an image", { ...image, manifests: [child] }, MEDIA_TYPES.ociManifest],
    ["both, without any type", { schemaVersion: 2, config, layers: [], manifests: [] }, undefined],
    ["an index sent as an image", index, MEDIA_TYPES.ociManifest],
    ["an image sent as an index", image, MEDIA_TYPES.ociIndex],
    ["an OCI image sent as Docker's", image, MEDIA_TYPES.dockerManifest],
    ["an untyped index sent as an image", { schemaVersion: 2, manifests: [child] }, MEDIA_TYPES.ociManifest],
    ["an untyped image sent as an index", { schemaVersion: 2, config, layers: [] }, MEDIA_TYPES.ociIndex],
  ])("confusion of types (CVE-2021-41190): %s", (_, document, contentType) => {
    expect(refusal(document, contentType).status).toBe(400);
  });

  it.each([
    ["by number", { schemaVersion: 1, name: "a", tag: "b", fsLayers: [], history: [] }, undefined],
    ["by header", image, MEDIA_TYPES.dockerSchema1],
    ["signed, by header", { schemaVersion: 1 }, MEDIA_TYPES.dockerSchema1Signed],
    ["by its own type", { ...image, mediaType: MEDIA_TYPES.dockerSchema1 }, undefined],
  ])("Docker schema 1 %s", (_, document, contentType) => {
    expect(refusal(document, contentType).message).toContain("schema 1");
  });

  it.each([
    ["nothing", "", "JSON"],
    ["no JSON", "{", "JSON"],
    ["no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), "JSON"],
    ["an array", "[]", "object"],
    ["null", "null", "object"],
    ["an empty object", "{}", "schemaVersion"],
    ["another schemaVersion", { ...image, schemaVersion: 3 }, "schemaVersion"],
    ["no config", { schemaVersion: 2, layers: [] }, "config"],
    ["no layers", { schemaVersion: 2, config }, "layers"],
    ["layers that are no list", { ...image, layers: {} }, "layers"],
    ["a bad digest", { ...image, layers: [{ ...layer, digest: "sha256:abc" }] }, "layers.0.digest"],
    ["a negative size", { ...image, layers: [{ ...layer, size: -1 }] }, "layers.0.size"],
    ["a size with a fraction", { ...image, config: { ...config, size: 1.5 } }, "config.size"],
    ["a size beyond exact numbers", { ...image, config: { ...config, size: 2 ** 53 } }, "config.size"],
    ["a size as text", { ...image, config: { ...config, size: "1" } }, "config.size"],
    ["no media type in a descriptor", { ...image, config: { ...config, mediaType: "" } }, "config.mediaType"],
    ["a bad subject", { ...image, subject: {} }, "subject"],
    ["annotations that are no texts", { ...image, annotations: { a: 1 } }, "annotations"],
    ["annotations that are a list", { ...image, annotations: ["a"] }, "annotations"],
    ["a media type that is no text", { ...image, mediaType: 5 }, "mediaType"],
    ["a media type that is none of a manifest", { ...image, mediaType: "text/html" }, "text/html"],
  ])("%s, naming it", (_, document, named) => {
    const body = Buffer.isBuffer(document) ? document : bytes(document);
    const { message } = (() => {
      try {
        parseManifest(body, undefined);
      } catch (error) {
        if (isCodedError(error)) return error;
      }
      throw new Error("accepted");
    })();
    expect(message).toContain(named);
  });

  it("says 413 above 4 MiB, before reading it", () => {
    expect(refusal(" ".repeat(MAX_MANIFEST_BYTES + 1)).status).toBe(413);
    expect(refusal(" ".repeat(MAX_MANIFEST_BYTES)).status).toBe(400);
  });
});

describe("parseManifest stays bounded with", () => {
  const open = JSON.stringify({ schemaVersion: 2, config }).slice(0, -1);

  it.each([
    ["two million wrong layers", `${open},"layers":[${"0,".repeat(2_000_000)}0]}`],
    ["two million wrong manifests", `{"schemaVersion":2,"manifests":[${"0,".repeat(2_000_000)}0]}`],
    [
      "300,000 wrong annotations",
      `${open},"layers":[],"annotations":{${"0,".repeat(300_000).replace(/0/g, () => '"a":1')}"b":1}}`,
    ],
    [
      "annotations 600,000 deep",
      `${open},"layers":[],"annotations":${'{"a":'.repeat(600_000)}1${"}".repeat(600_000)}}`,
    ],
    ["a media type of 4 MB", `${open},"layers":[],"mediaType":"${"a".repeat(4_000_000)}"}`],
  ])("%s", (_, text) => {
    const before = process.memoryUsage().rss;
    const start = performance.now();
    expect(refusal(text).message.length).toBeLessThan(500);
    expect(performance.now() - start).toBeLessThan(2_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  });

  it("an unknown field nested two million deep, which it accepts unread", () => {
    const text = `${open},"layers":[],"x":${"[".repeat(2_000_000)}${"]".repeat(2_000_000)}}`;
    expect(parseManifest(bytes(text), undefined).blobs).toEqual([config]);
  });

  it("as many layers as fit", () => {
    const layers = Array.from({ length: 30_000 }, () => ({ mediaType: "a", digest: layer.digest, size: 0 }));
    expect(parseManifest(bytes({ ...image, layers }), undefined).blobs).toHaveLength(30_001);
  });
});
