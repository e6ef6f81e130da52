import { type Digest, isDigest } from "./digest.ts";
import { isRepositoryName, isTag, MAX_NAME_LENGTH } from "./repository-name.ts";

/**
 * An image reference as users write it, normalised by Docker's reference rules
 * (`[registry/]repository[:tag][@digest]`, distribution/reference): docker.io and `library/` are spelled out, a missing
 * tag stays missing.
 */
export type ImageReference = {
  /** Lower-case host, with port when written: `docker.io`, `ghcr.io`, `harbor.local:5000`, `[::1]:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
};

export const DOCKER_HUB = "docker.io";
const DOCKER_HUB_ALIASES = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** RFC 1123 host or IPv4, or a bracketed IPv6 literal, with an optional port. */
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:.]+\])(?::(\d{1,5}))?$/;

/** Does the first path component name a registry? Docker's rule: it has a `.` or a `:`, or is `localhost`. */
export function looksLikeRegistry(component: string): boolean {
  return component === "localhost" || component.includes(".") || component.includes(":");
}

/** Host names are case-insensitive (RFC 3986 §3.2.2); the aliases of Docker Hub are one registry. Undefined: not a host. */
export function normalizeRegistry(host: string): string | undefined {
  const match = HOST.exec(host);
  if (!match || host.length > MAX_NAME_LENGTH) return undefined;
  if (match[1] !== undefined && (Number(match[1]) < 1 || Number(match[1]) > 65_535)) return undefined;
  const lower = host.toLowerCase();
  return DOCKER_HUB_ALIASES.has(lower) ? DOCKER_HUB : lower;
}

/** For docker.io a one-component repository is an official image: `nginx` → `library/nginx`. */
export function normalizeRepository(registry: string, repository: string): string {
  return registry === DOCKER_HUB && !repository.includes("/") ? `library/${repository}` : repository;
}

/** An image's identifier at the container runtime, not a name: `sha256:<hex>` or 64 hex digits (distribution/reference). */
function isIdentifier(text: string): boolean {
  return isDigest(text) || isDigest(`sha256:${text}`);
}

/** Undefined when the text is no valid reference. */
export function parseImageReference(text: string): ImageReference | undefined {
  if (isIdentifier(text)) return undefined;
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) return undefined;
  const named = at < 0 ? text : text.slice(0, at);

  const slash = named.indexOf("/");
  const first = slash < 0 ? "" : named.slice(0, slash);
  const hasRegistry = slash > 0 && looksLikeRegistry(first);
  const registry = hasRegistry ? normalizeRegistry(first) : DOCKER_HUB;
  const path = hasRegistry ? named.slice(slash + 1) : named;
  if (registry === undefined) return undefined;

  const colon = path.indexOf(":");
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) return undefined;
  const repository = normalizeRepository(registry, colon < 0 ? path : path.slice(0, colon));
  if (!isRepositoryName(repository)) return undefined;
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

export function printImageReference(reference: ImageReference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** With `:latest` spelled out when neither a tag nor a digest is given: the form of `CachedImage.spec.sourceImage`. */
export function withDefaultTag(reference: ImageReference): ImageReference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;
}

/** What a registry is asked for: the digest when there is one (it decides), else the tag, else `latest`. */
export function manifestReferenceOf(reference: ImageReference): string {
  return reference.digest ?? reference.tag ?? "latest";
}
