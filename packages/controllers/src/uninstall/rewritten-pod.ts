import { fromCacheReference, isCached } from "@cache-registry/core/cache-reference";
import { parseImageReference, printImageReference } from "@cache-registry/core/image-reference";
import { MIRROR_POD_ANNOTATION } from "@cache-registry/core/labels";
import { controllerOf } from "@cache-registry/kube/object";
import type { Container, Pod } from "@cache-registry/kube/workloads";
import type { CacheNames } from "../pod/pod-images.ts";

/** A container whose image is below the cache's endpoint, and what its user wrote. */
export type CachedContainer = {
  readonly list: "containers" | "initContainers";
  readonly index: number;
  readonly cached: string;
  /** Spelled out. Undefined: a repository of the cache itself, which only the cache has. */
  readonly original: string | undefined;
};

/** How images below the endpoint are to be read. */
export type EndpointNames = CacheNames & {
  /** The image as its user wrote it is behind the endpoint, as the predecessors of the webhook left it. */
  readonly asWritten?: boolean;
};

/**
 * How a pod gets rid of names below the endpoint.
 * - evict: its controller makes it anew, as its template is written
 * - patch: nobody would make it again, so its images are changed in place
 * - finish: a Job's pod, which is let end
 * - stay: neither works; `why` says what a person can do
 */
export type WayOut =
  | { readonly action: "evict" | "finish" }
  | { readonly action: "patch"; readonly containers: readonly (CachedContainer & { readonly original: string })[] }
  | { readonly action: "stay"; readonly why: string };

const ENDED = new Set(["Succeeded", "Failed"]);

/**
 * What has to happen to a pod before the cache can go; undefined when nothing has to. Read from the images alone: labels and
 * annotations can be forged and lost. Ephemeral containers are not looked at: they are never started a second time.
 */
export function wayOut(pod: Pod, names: EndpointNames): WayOut | undefined {
  if (ENDED.has(pod.status?.phase ?? "") || pod.metadata.annotations?.[MIRROR_POD_ANNOTATION] !== undefined) return;
  const containers = [
    ...cachedContainers(pod.spec?.initContainers, "initContainers", names),
    ...cachedContainers(pod.spec?.containers, "containers", names),
  ];
  const volumes = (pod.spec?.volumes ?? []).flatMap(({ name, image: { reference: cached = "" } = {} }) =>
    isCached(cached, names.endpoint) ? [{ name, cached, original: originalOf(cached, names) }] : [],
  );
  if (containers.length === 0 && volumes.length === 0) return;
  const controller = controllerOf(pod);
  if (controller?.kind === "Job") return { action: "finish" };
  // Rewriting never makes such a name, so the template has it: a pod made anew could not be started without the cache.
  const local = [...containers, ...volumes].find(({ original }) => original === undefined)?.cached;
  if (local !== undefined) return { action: "stay", why: localOnly(local, controller) };
  if (controller) return { action: "evict" };
  const [volume] = volumes;
  if (volume)
    return { action: "stay", why: `image volume ${volume.name} cannot be changed: delete and create the pod` };
  return { action: "patch", containers: containers.flatMap((one) => (isKnown(one) ? [one] : [])) };
}

function isKnown(one: CachedContainer): one is CachedContainer & { readonly original: string } {
  return one.original !== undefined;
}

/** A name without a dot is an upstream's only where the command was told so. */
function localOnly(image: string, controller: { kind: string; name: string } | undefined): string {
  const where = controller ? `the template of ${controller.kind} ${controller.name}` : "the pod";
  return `${image} is in the cache alone (or its upstream was not named by --registry): push it elsewhere and change ${where}`;
}

function cachedContainers(
  containers: readonly Container[] | undefined,
  list: CachedContainer["list"],
  names: EndpointNames,
): CachedContainer[] {
  return (containers ?? []).flatMap(({ image = "" }, index) =>
    isCached(image, names.endpoint) ? [{ list, index, cached: image, original: originalOf(image, names) }] : [],
  );
}

/** Spelled out. Undefined: a repository of the cache itself. */
function originalOf(image: string, { endpoint, registries, asWritten = false }: EndpointNames): string | undefined {
  if (!asWritten) {
    const reference = fromCacheReference(image, endpoint, registries);
    return reference && printImageReference(reference);
  }
  const behind = image.slice(endpoint.length + 1);
  return parseImageReference(behind) && behind;
}
