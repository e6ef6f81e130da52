import { fromCacheReference, isCached } from "@cache-registry/core/cache-reference";
import { parseImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import type { PodSpec } from "@cache-registry/kube/workloads";

/** What tells a name below the cache from a repository of the cache itself. */
export type CacheNames = {
  readonly endpoint: string;
  /** Registries that the cache lists as upstreams. */
  readonly registries: ReadonlySet<string>;
};

/** Every image that a pod spec names: all container kinds and image volumes, as written. */
export function imagesOf(spec: PodSpec | undefined): string[] {
  const containers = [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ].map(({ image }) => image);
  const volumes = (spec?.volumes ?? []).map(({ image }) => image?.reference);
  return [...containers, ...volumes].filter((image): image is string => image !== undefined && image !== "");
}

/**
 * The image behind a name in a pod, as its registry knows it: `nginx` and `localhost:7439/docker.io/library/nginx` are both
 * `docker.io/library/nginx:latest`. Undefined: no valid reference, or a local repository of the cache itself.
 */
export function sourceReference(image: string, { endpoint, registries }: CacheNames): string | undefined {
  const reference = isCached(image, endpoint)
    ? fromCacheReference(image, endpoint, registries)
    : parseImageReference(image);
  return reference && printImageReference(withDefaultTag(reference));
}

/** What a pod spec uses, rewritten or not, each once. */
export function usedReferences(spec: PodSpec | undefined, names: CacheNames): string[] {
  const references = imagesOf(spec).map((image) => sourceReference(image, names));
  return [...new Set(references.filter((reference) => reference !== undefined))];
}

export type RecordingMode = "rewrite" | "mirror";

/**
 * What of a labelled pod is recorded as CachedImage. Rewrite: the images that the webhook led to the cache, read from the
 * spec and never from annotations, which users can forge. Mirror: all, unless the pod brings pull secrets: those images
 * may be private, and the cache can fetch them only where they are shared.
 */
export function recordedReferences(
  spec: PodSpec | undefined,
  { mode, names, shared }: { readonly mode: RecordingMode; readonly names: CacheNames; readonly shared: boolean },
): string[] {
  if (mode === "mirror") return spec?.imagePullSecrets?.length && !shared ? [] : usedReferences(spec, names);
  const cached = imagesOf(spec).filter((image) => isCached(image, names.endpoint));
  const references = cached.map((image) => sourceReference(image, names));
  return [...new Set(references.filter((reference) => reference !== undefined))];
}
