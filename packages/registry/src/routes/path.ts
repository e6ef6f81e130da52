import { CodedError } from "@cache-registry/core/errors";

/** What a `/v2/` path asks for. Distribution spec, "Endpoints". `name` and the rest are decoded but not yet validated. */
export type Endpoint =
  | { readonly kind: "ping" }
  | { readonly kind: "catalog" }
  | { readonly kind: "tags"; readonly name: string }
  | { readonly kind: "manifest"; readonly name: string; readonly reference: string }
  | { readonly kind: "blob"; readonly name: string; readonly digest: string }
  | { readonly kind: "referrers"; readonly name: string; readonly digest: string }
  | { readonly kind: "uploads"; readonly name: string }
  | { readonly kind: "upload"; readonly name: string; readonly id: string };

/**
 * Names hold slashes, so the path is read from its end. Undefined: no endpoint of the spec.
 * @throws CodedError BAD_REQUEST when the percent-encoding is broken
 */
export function parsePath(rawPath: string): Endpoint | undefined {
  const path = decode(rawPath);
  if (path === "/v2" || path === "/v2/") return { kind: "ping" };
  if (!path.startsWith("/v2/")) return undefined;
  const rest = path.slice("/v2/".length);
  if (rest === "_catalog") return { kind: "catalog" };
  if (rest.endsWith("/tags/list")) return { kind: "tags", name: rest.slice(0, -"/tags/list".length) };

  const uploads = /^(.+)\/blobs\/uploads\/?$/.exec(rest);
  if (uploads?.[1]) return { kind: "uploads", name: uploads[1] };
  const slash = rest.lastIndexOf("/");
  const last = rest.slice(slash + 1);
  const before = rest.slice(0, Math.max(slash, 0));
  if (last === "") return undefined;
  for (const [suffix, make] of SUFFIXES) {
    if (before.endsWith(suffix) && before.length > suffix.length) return make(before.slice(0, -suffix.length), last);
  }
  return undefined;
}

/** `/blobs/uploads` before `/blobs`: the longer one decides. */
const SUFFIXES: readonly (readonly [string, (name: string, last: string) => Endpoint])[] = [
  ["/blobs/uploads", (name, id) => ({ kind: "upload", name, id })],
  ["/blobs", (name, digest) => ({ kind: "blob", name, digest })],
  ["/referrers", (name, digest) => ({ kind: "referrers", name, digest })],
  ["/manifests", (name, reference) => ({ kind: "manifest", name, reference })],
];

function decode(rawPath: string): string {
  try {
    return decodeURIComponent(rawPath);
  } catch {
    throw new CodedError("BAD_REQUEST", "the path is not valid percent-encoding");
  }
}
