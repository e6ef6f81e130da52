import { z } from "zod";
import { Annotations, Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { CodedError } from "./errors.ts";
import {
  baseMediaType,
  isIndexType,
  isManifestType,
  isNonDistributable,
  isSchema1Type,
  MEDIA_TYPES,
} from "./media-type.ts";

/** Distribution spec: registries accept at least 4 MiB; above we answer 413. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** No descriptor is shorter: a type, 71 characters of digest and a size with their keys. */
const MIN_DESCRIPTOR_BYTES = 100;

/** OCI image manifest and Docker image manifest v2 schema 2. */
const ImageManifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: Descriptor,
  layers: z.array(Descriptor),
  subject: Descriptor.optional(),
  annotations: Annotations.nullish(),
});

/** OCI image index and Docker manifest list. */
const ImageIndex = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  manifests: z.array(Descriptor),
  subject: Descriptor.optional(),
  annotations: Annotations.nullish(),
});

/** What a registry must know of a manifest: its type and what it points to. The bytes themselves are never changed. */
export type ParsedManifest = {
  readonly mediaType: string;
  readonly kind: "manifest" | "index";
  /** Config and layers whose bytes the registry holds (non-distributable layers left out). */
  readonly blobs: readonly Descriptor[];
  /** Layers whose bytes live elsewhere: no client must push them, and some do. */
  readonly nonDistributable: readonly Descriptor[];
  /** Children of an index. */
  readonly manifests: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
  /** Of the referrers API: artifactType, else the config's media type; an index may have none. */
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
};

function invalid(message: string): CodedError {
  return new CodedError("MANIFEST_INVALID", message);
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("manifest is not valid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid("manifest is not a JSON object");
  return value as Record<string, unknown>;
}

/**
 * A list with more items than descriptors fit into the bytes is refused as a whole: each wrong item would cost an issue,
 * and 4 MiB of `0,0,0,…` more than a gigabyte.
 */
function refuseFloods(json: Record<string, unknown>, bytes: number): void {
  for (const field of ["layers", "manifests"]) {
    const list = json[field];
    if (Array.isArray(list) && list.length * MIN_DESCRIPTOR_BYTES > bytes) throw invalid(`${field}: not descriptors`);
  }
}

/** The media type the document claims, checked against the Content-Type header (CVE-2021-41190: confusion of the two). */
function mediaTypeOf(json: Record<string, unknown>, contentType: string | undefined): string {
  const header = baseMediaType(contentType);
  const claimed = typeof json.mediaType === "string" ? baseMediaType(json.mediaType) : "";
  if (isSchema1Type(header) || isSchema1Type(claimed) || json.schemaVersion === 1) {
    throw invalid("Docker schema 1 manifests are not supported; use schema 2 or OCI");
  }
  if (claimed && isManifestType(header) && claimed !== header) {
    throw invalid(`Content-Type ${header} does not match the manifest's mediaType ${claimed.slice(0, 100)}`);
  }
  const known = isManifestType(header) ? header : claimed;
  if (isManifestType(known)) return known;
  if (claimed) throw invalid(`unsupported manifest media type ${claimed.slice(0, 100)}`);
  return Array.isArray(json.manifests) ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

/**
 * Parse a manifest's bytes. `contentType` is the header it came with; when that is missing or generic, the document's own
 * mediaType and shape decide.
 * @throws CodedError MANIFEST_INVALID naming the field; with status 413 above MAX_MANIFEST_BYTES
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): ParsedManifest {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    const message = `manifest is larger than ${MAX_MANIFEST_BYTES} bytes`;
    throw new CodedError("MANIFEST_INVALID", message, { status: 413 });
  }
  const json = parseJson(bytes);
  refuseFloods(json, bytes.length);
  if ("manifests" in json && ("layers" in json || "config" in json)) {
    throw invalid("a manifest cannot have both manifests and layers (CVE-2021-41190)");
  }
  const mediaType = mediaTypeOf(json, contentType);
  const index = isIndexType(mediaType);
  const result = (index ? ImageIndex : ImageManifest).safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw invalid(`${issue?.path.join(".") || "manifest"}: ${issue?.message ?? "invalid"}`);
  }
  const { subject, annotations } = result.data;
  const common = { mediaType, subject, annotations: annotations ?? {} };
  if ("manifests" in result.data) {
    return {
      ...common,
      kind: "index",
      blobs: [],
      nonDistributable: [],
      manifests: result.data.manifests,
      // Spec, "Listing Referrers": empty is as good as missing.
      artifactType: result.data.artifactType || undefined,
    };
  }
  const { config, layers } = result.data;
  return {
    ...common,
    kind: "manifest",
    blobs: [config, ...layers].filter(({ mediaType }) => !isNonDistributable(mediaType)),
    nonDistributable: layers.filter(({ mediaType }) => isNonDistributable(mediaType)),
    manifests: [],
    artifactType: result.data.artifactType || config.mediaType,
  };
}

/** Every digest a manifest keeps alive in its repository. The subject is not among them: it is the other way round. */
export function referencedDigests(manifest: ParsedManifest): Digest[] {
  return [...new Set([...manifest.blobs, ...manifest.manifests].map((descriptor) => descriptor.digest))];
}
