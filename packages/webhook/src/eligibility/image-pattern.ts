import {
  DOCKER_HUB,
  type ImageReference,
  looksLikeRegistry,
  normalizeRegistry,
} from "@cache-registry/core/image-reference";
import { isRepositoryName } from "@cache-registry/core/repository-name";

/**
 * Patterns for images. One without `/` is compared with the registry (`*.gcr.io`, `harbor.local:5000`), one with `/` with
 * `registry/repository` as normalised (`docker.io/library/*`), tags and digests left out. `*` stands for any text, also an
 * empty one or one with `/`; the rest must match from the first to the last character. Host names have no case.
 */
export type ImageMatcher = (reference: ImageReference) => boolean;

/** A `:` in a registry begins a port; elsewhere it would begin a tag. */
const PORT = /^[^:]*(?::[\d*]+)?$/;

/**
 * False for what could never match, such as `nginx` and `docker.io/nginx` (to be written `docker.io/library/nginx`), or
 * anything with a tag: whoever denies an image must not believe that it is denied.
 */
export function isImagePattern(pattern: string): boolean {
  const [host = "", ...path] = pattern.split("/");
  if (/[\s@]/.test(pattern) || path.includes("") || path.join().includes(":")) return false;
  if (!PORT.test(host)) return false;
  const [only = ""] = path;
  if (path.length === 1 && !only.includes("*") && normalizeRegistry(host) === DOCKER_HUB) return false;
  return host.includes("*") || looksLikeRegistry(host);
}

export function createImageMatcher(patterns: readonly string[]): ImageMatcher {
  const globs = patterns.map(compile);
  return (reference) => globs.some((matches) => matches(reference));
}

/** A registry, or a registry and the first whole components of repositories: `ghcr.io`, `ghcr.io/team`. */
export function isImagePrefix(text: string): boolean {
  const [host = "", ...path] = text.split("/");
  return normalizeRegistry(host) !== undefined && (path.length === 0 || isRepositoryName(path.join("/")));
}

/** As credentials of an upstream are found: by whole components. */
export function createPrefixMatcher(prefixes: readonly string[]): ImageMatcher {
  const wanted = prefixes.map((prefix) => {
    const [host = "", ...path] = prefix.split("/");
    return { registry: normalizeRegistry(host), path: path.join("/") };
  });
  return ({ registry, repository }) =>
    wanted.some((one) => {
      const inside = one.path === "" || repository === one.path || repository.startsWith(`${one.path}/`);
      return one.registry === registry && inside;
    });
}

function compile(pattern: string): ImageMatcher {
  const slash = pattern.indexOf("/");
  if (slash < 0) {
    const registry = normalizeRegistry(pattern) ?? pattern.toLowerCase();
    return (reference) => matchesGlob(registry, reference.registry);
  }
  const host = pattern.slice(0, slash);
  const name = (normalizeRegistry(host) ?? host.toLowerCase()) + pattern.slice(slash).toLowerCase();
  return (reference) => matchesGlob(name, `${reference.registry}/${reference.repository}`);
}

/** Linear in the text for each part between stars: taking the first place where a part fits is always right for `*`. */
function matchesGlob(glob: string, text: string): boolean {
  const [first = "", ...parts] = glob.split("*");
  const last = parts.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let position = first.length;
  for (const part of parts) {
    const found = text.indexOf(part, position);
    if (found < 0) return false;
    position = found + part.length;
  }
  return text.length - last.length >= position && text.endsWith(last);
}
