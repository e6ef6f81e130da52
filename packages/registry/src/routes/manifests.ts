import { isDigest, looksLikeDigest, parseDigest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { MAX_MANIFEST_BYTES, parseManifest } from "@cache-registry/core/manifest";
import { isTag } from "@cache-registry/core/repository-name";
import { assertDigest, digestOfBytes } from "@cache-registry/core/verify";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { ManifestReader } from "../content/read-manifest.ts";
import type { StoreManifest } from "../content/store-manifest.ts";
import type { Outcome } from "../pull-through/pull-through-metrics.ts";
import { readBody } from "./body.ts";
import { answeredBy, type Exchange, isHead, type Methods, refusePush } from "./exchange.ts";

export type ManifestEndpoint = { readonly reference: string };

export type ManifestRouteDeps = {
  readonly metadata: MetadataStore;
  readonly readManifest: ManifestReader;
  readonly storeManifest: StoreManifest;
  /** False: images may be pushed whose config or layers are not there (sparse images). */
  readonly requireBlobs: boolean;
  readonly deleteEnabled: boolean;
  /** Told of each document sent: seconds since the request. */
  readonly firstByte: (outcome: Outcome, seconds: number) => void;
};

/** Distribution spec: pulling, pushing and deleting manifests (end-2, end-7, end-9). */
export function manifestRoutes(deps: ManifestRouteDeps): Methods<ManifestEndpoint> {
  const { metadata } = deps;

  async function get(exchange: Exchange, { reference }: ManifestEndpoint) {
    const { repository, reply, request } = exchange;
    checkReference(reference);
    const { record, load, outcome, warning } = await deps.readManifest(repository, reference);
    reply.headers({
      ...answeredBy(exchange, outcome),
      "docker-content-digest": record.digest,
      etag: `"${record.digest}"`,
      ...(warning === undefined ? {} : { warning }),
    });
    if (matches(request.headers["if-none-match"], record.digest)) return reply.code(304).send();
    reply.header("content-type", record.mediaType).header("content-length", record.size);
    if (isHead(exchange)) return reply.send();
    const document = await load();
    deps.firstByte(outcome, reply.elapsedTime / 1000);
    return reply.send(document);
  }

  async function put(exchange: Exchange, { reference }: ManifestEndpoint) {
    const { repository, reply, request, name, query } = exchange;
    refusePush(repository, (message) => new CodedError("UNSUPPORTED", message));
    checkReference(reference);
    const bytes = await readBody(request, MAX_MANIFEST_BYTES, () => tooLarge());
    const parsed = parseManifest(bytes, request.headers["content-type"]);
    const digest = isDigest(reference) ? reference : digestOfBytes(bytes);
    assertDigest(bytes, digest);
    const tags = isDigest(reference) ? tagsOf(query) : [reference];
    const { missing } = await deps.storeManifest({
      repository,
      digest,
      bytes,
      parsed,
      tags,
      requireReferences: deps.requireBlobs,
    });
    if (missing.length > 0) {
      throw new CodedError("MANIFEST_BLOB_UNKNOWN", "the manifest refers to content that is not in this repository", {
        detail: missing.slice(0, 20).map((absent) => ({ digest: absent })),
      });
    }
    const { subject } = parsed;
    if (subject) reply.header("oci-subject", subject.digest);
    if (isDigest(reference) && tags.length > 0) reply.header("oci-tag", tags);
    return reply
      .code(201)
      .headers({ location: `/v2/${name}/manifests/${digest}`, "docker-content-digest": digest })
      .send();
  }

  async function remove({ repository, reply }: Exchange, { reference }: ManifestEndpoint) {
    if (!deps.deleteEnabled) throw new CodedError("UNSUPPORTED", "deleting is switched off: delete.enabled is false");
    checkReference(reference);
    const removed = isDigest(reference)
      ? await metadata.deleteManifest(repository.name, reference, Date.now())
      : await metadata.deleteTag(repository.name, reference, Date.now());
    if (!removed) throw new CodedError("MANIFEST_UNKNOWN");
    return reply.code(202).send();
  }

  return { GET: get, HEAD: get, PUT: put, DELETE: remove };
}

/** More tags at once than this are 414: their names come back in headers, for which clients have limits too. */
const MAX_TAGS = 64;

/** Distribution spec, end-7b: tags to set beside the push by digest. @throws CodedError with status 414, or for a bad tag */
function tagsOf(query: URLSearchParams): string[] {
  const tags = [...new Set(query.getAll("tag"))];
  if (tags.length > MAX_TAGS) {
    throw new CodedError("MANIFEST_INVALID", `more than ${MAX_TAGS} tags in one request`, { status: 414 });
  }
  for (const tag of tags) checkTag(tag);
  return tags;
}

/** @throws CodedError: a digest we do not know the algorithm of is DIGEST_INVALID, anything that is no tag MANIFEST_INVALID */
function checkReference(reference: string): void {
  if (looksLikeDigest(reference)) parseDigest(reference);
  else checkTag(reference);
}

function checkTag(tag: string): void {
  if (isTag(tag)) return;
  throw new CodedError(
    "MANIFEST_INVALID",
    "invalid tag: allowed are 1 to 128 characters of [a-zA-Z0-9_.-], the first no . or -",
  );
}

function tooLarge(): CodedError {
  return new CodedError("MANIFEST_INVALID", `manifests of more than ${MAX_MANIFEST_BYTES} bytes are not accepted`, {
    status: 413,
  });
}

function matches(ifNoneMatch: string | undefined, digest: string): boolean {
  return (
    ifNoneMatch?.split(",").some((tag) => tag.trim().replace(/^W\//, "") === `"${digest}"` || tag.trim() === "*") ??
    false
  );
}
