import { type ImageReference, looksLikeRegistry, parseImageReference, printImageReference } from "./image-reference.ts";
import { isRepositoryName, MAX_NAME_LENGTH } from "./repository-name.ts";

/**
 * The cached form of a reference: `<endpoint>/<registry>/<repository>[:tag][@digest]`. A port in the registry is written
 * `host_5000`, because `:` cannot stand in a path; a host name never holds `_`, so the way back is unambiguous.
 */
export type RewriteFailure = "invalid" | "too-long";

const PORT_SUFFIX = /^(.+)_(\d{1,5})$/;

/** `harbor.local:5000` → `harbor.local_5000`. Undefined when the host cannot be a path component (IPv6 literals). */
export function registryToComponent(registry: string): string | undefined {
  const component = registry.replace(/:(\d+)$/, "_$1");
  return isRepositoryName(component) ? component : undefined;
}

/** `harbor.local_5000` → `harbor.local:5000`. */
export function componentToRegistry(component: string): string {
  const match = PORT_SUFFIX.exec(component);
  return match ? `${match[1]}:${match[2]}` : component;
}

/** Is the text below the endpoint already? Then rewriting it again would change its meaning. */
export function isCached(image: string, endpoint: string): boolean {
  // A host name has no case: rewriting `LOCALHOST:7439/…` would nest the endpoint in itself.
  return image.slice(0, endpoint.length).toLowerCase() === endpoint.toLowerCase() && image[endpoint.length] === "/";
}

/** The cached form of a reference, or why there is none. Missing tags stay missing. */
export function toCacheReference(
  reference: ImageReference,
  endpoint: string,
): { readonly image: string } | { readonly failure: RewriteFailure } {
  const component = registryToComponent(reference.registry);
  if (component === undefined) return { failure: "invalid" };
  const name = `${endpoint}/${component}/${reference.repository}`;
  // containerd and Docker refuse names (host included) over 255 characters: distribution/reference, NameTotalLengthMax.
  if (name.length > MAX_NAME_LENGTH) return { failure: "too-long" };
  const rest = printImageReference(reference).slice(reference.registry.length + 1 + reference.repository.length);
  return { image: `${name}${rest}` };
}

/**
 * The reference behind a cached image name; the inverse of `toCacheReference`. Undefined when the image is not below the
 * endpoint or names a local repository of the cache (no registry in its first component). `listed`: the only registries
 * with a port that may lack a dot, since `team_5000/app` can be a local repository as well; left out: any may.
 */
export function fromCacheReference(
  image: string,
  endpoint: string,
  listed?: ReadonlySet<string>,
): ImageReference | undefined {
  if (!isCached(image, endpoint)) return undefined;
  const path = image.slice(endpoint.length + 1);
  const slash = path.indexOf("/");
  if (slash <= 0) return undefined;
  const registry = componentToRegistry(path.slice(0, slash));
  if (listed !== undefined && !path.slice(0, slash).includes(".") && registry.includes(":") && !listed.has(registry)) {
    return undefined;
  }
  return looksLikeRegistry(registry) ? parseImageReference(`${registry}/${path.slice(slash + 1)}`) : undefined;
}
