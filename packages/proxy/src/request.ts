import { type Digest, isDigest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { isTag } from "@cache-registry/core/repository-name";
import type { TargetQuery } from "@cache-registry/registry-client/target";

/** What a URL below `/v2/` asks for. Distribution spec, "Endpoints". */
export type Resource =
  | { readonly kind: "manifest"; readonly name: string; readonly reference: string }
  | { readonly kind: "blob"; readonly name: string; readonly digest: Digest }
  /** Answered by the cache alone; `rest` is below the name: `tags/list`. */
  | { readonly kind: "listing"; readonly name: string; readonly rest: string };

const CONTENT = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/s;
const LISTING = /^\/v2\/(.+)\/(tags\/list|referrers\/[^/]+)$/s;

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new CodedError("NAME_INVALID", "the path is not valid percent-encoded UTF-8");
  }
}

/** @throws CodedError DIGEST_INVALID, MANIFEST_UNKNOWN or NOT_FOUND */
function parseResource(path: string): Resource {
  const [, name = "", collection, reference = ""] = CONTENT.exec(path) ?? [];
  if (collection === "blobs") {
    if (isDigest(reference)) return { kind: "blob", name, digest: reference };
    throw new CodedError("DIGEST_INVALID", "the blob's digest is not valid");
  }
  if (collection === "manifests") {
    if (isDigest(reference) || isTag(reference)) return { kind: "manifest", name, reference };
    throw new CodedError("MANIFEST_UNKNOWN", "the reference is neither a tag nor a digest");
  }
  const [, listed, rest] = LISTING.exec(path) ?? [];
  if (listed !== undefined && rest !== undefined) return { kind: "listing", name: listed, rest };
  throw new CodedError("NOT_FOUND", "no such endpoint");
}

export type ParsedRequest = {
  readonly resource: Resource;
  readonly query: URLSearchParams;
  readonly ns: TargetQuery["ns"];
};

/** `url`: as in the request line. @throws CodedError */
export function parseRequest(url: string): ParsedRequest {
  const mark = url.indexOf("?");
  const query = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
  return {
    resource: parseResource(decodePath(mark < 0 ? url : url.slice(0, mark))),
    query,
    ns: query.getAll("ns"),
  };
}
