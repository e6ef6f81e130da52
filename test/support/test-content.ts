import { createHash, randomBytes } from "node:crypto";

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";

export type Blob = { readonly bytes: Buffer; readonly digest: string };
export type Document = Blob & { readonly mediaType: string };
/** Opaque layers: registries look at digests and sizes only. */
export type Image = { readonly manifest: Document; readonly blobs: readonly Blob[] };
export type Index = { readonly manifest: Document; readonly images: readonly Image[] };

export function digestOf(bytes: Uint8Array, algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

export function blobOf(bytes: Uint8Array): Blob {
  return { bytes: Buffer.from(bytes), digest: digestOf(bytes) };
}

export function randomBlob(size: number): Blob {
  return blobOf(randomBytes(size));
}

export function documentOf(mediaType: string, value: object): Document {
  return { mediaType, ...blobOf(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...value }))) };
}

export function descriptorOf(mediaType: string, { bytes, digest }: Blob) {
  return { mediaType, digest, size: bytes.length };
}

/** An image of random bytes: a config and layers of these sizes (or these very blobs). */
export function makeImage(layers: readonly (number | Blob)[] = [1_000], more: object = {}): Image {
  const config = blobOf(
    Buffer.from(JSON.stringify({ os: "linux", architecture: "amd64", id: randomBytes(8).toString("hex") })),
  );
  const contents = layers.map((layer) => (typeof layer === "number" ? randomBlob(layer) : layer));
  const manifest = documentOf(MANIFEST_TYPE, {
    config: descriptorOf(CONFIG_TYPE, config),
    layers: contents.map((layer) => descriptorOf(LAYER_TYPE, layer)),
    ...more,
  });
  return { manifest, blobs: [config, ...contents] };
}

/** An index of one image for each architecture. */
export function makeIndex(images: Readonly<Record<string, Image>>): Index {
  const manifests = Object.entries(images).map(([architecture, { manifest }]) => ({
    ...descriptorOf(manifest.mediaType, manifest),
    platform: { os: "linux", architecture },
  }));
  return { manifest: documentOf(INDEX_TYPE, { manifests }), images: Object.values(images) };
}
