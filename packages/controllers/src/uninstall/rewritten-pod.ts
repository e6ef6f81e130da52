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
  /** What becomes of it when it ends: the restart policy. Undefined: it was not started yet. */
  readonly started: string | undefined;
  /** Why the original is not sure. */
  readonly doubt?: string | undefined;
};

/** How images below the endpoint are to be read. */
export type EndpointNames = CacheNames & {
  /**
   * For the predecessors of the webhook: the image as its user wrote it, from what is behind the endpoint. `doubt`: why the
   * image is not sure, for people.
   */
  readonly asWritten?: (behind: string) => { readonly image: string; readonly doubt?: string };
};

/**
 * How a pod gets rid of names below the endpoint.
 * - evict: its controller makes it anew, as its template is written
 * - patch: nobody would make it again, so its images are changed in place
 * - finish: a Job's pod, or a bare one that is tried again until it succeeds, which is let end
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
  const containers = [...cachedContainers(pod, "initContainers", names), ...cachedContainers(pod, "containers", names)];
  const volumes = (pod.spec?.volumes ?? []).flatMap(({ name, image: { reference: cached = "" } = {} }) =>
    isCached(cached, names.endpoint) ? [{ name, cached, original: originalOf(cached, names) }] : [],
  );
  if (containers.length === 0 && volumes.length === 0) return;
  const controller = controllerOf(pod);
  if (controller?.kind === "Job") return { action: "finish" };
  if (!controller) {
    // The kubelet starts a container whose image was changed anew, whatever the restart policy: a task that runs would run
    // twice. What was started once and for all needs no image any more, nor the volumes that it has.
    const open = containers.filter(({ started }) => started === undefined || started === "Always");
    if (open.length === 0 && containers.length > 0) return endOf(containers);
    return bareWayOut(open, volumes);
  }
  // Rewriting never makes such a name, so the template has it: a pod made anew could not be started without the cache.
  const local = localIn([...containers, ...volumes]);
  return local === undefined ? { action: "evict" } : { action: "stay", why: localOnly(local, controller) };
}

function bareWayOut(containers: readonly CachedContainer[], volumes: readonly CachedVolume[]): WayOut {
  const local = localIn([...containers, ...volumes]);
  if (local !== undefined) return { action: "stay", why: localOnly(local, undefined) };
  const doubt = containers.map(({ doubt }) => doubt).find((one) => one !== undefined);
  if (doubt !== undefined) return { action: "stay", why: doubt };
  const [volume] = volumes;
  if (volume)
    return { action: "stay", why: `image volume ${volume.name} cannot be changed: delete and create the pod` };
  return { action: "patch", containers: containers.flatMap((one) => (isKnown(one) ? [one] : [])) };
}

/** Of a bare pod all of whose cached containers were started and are not to run for ever. */
function endOf(containers: readonly CachedContainer[]): WayOut | undefined {
  return containers.some(({ started }) => started === "OnFailure") ? { action: "finish" } : undefined;
}

type CachedVolume = { readonly name: string; readonly cached: string; readonly original: string | undefined };

function localIn(
  named: readonly { readonly cached: string; readonly original: string | undefined }[],
): string | undefined {
  return named.find(({ original }) => original === undefined)?.cached;
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
  { spec, status }: Pod,
  list: CachedContainer["list"],
  names: EndpointNames,
): CachedContainer[] {
  const statuses = list === "containers" ? status?.containerStatuses : status?.initContainerStatuses;
  const containers: readonly Container[] = spec?.[list] ?? [];
  return containers.flatMap(({ name, image = "", restartPolicy }, index) => {
    if (!isCached(image, names.endpoint)) return [];
    const state = statuses?.find((one) => one.name === name)?.state;
    const started =
      state?.running || state?.terminated ? (restartPolicy ?? spec?.restartPolicy ?? "Always") : undefined;
    const doubt = names.asWritten?.(behind(image, names)).doubt;
    return [{ list, index, cached: image, original: originalOf(image, names), started, doubt }];
  });
}

/** Spelled out. Undefined: a repository of the cache itself. */
function originalOf(image: string, names: EndpointNames): string | undefined {
  if (names.asWritten) {
    const original = names.asWritten(behind(image, names)).image;
    return parseImageReference(original) && original;
  }
  const reference = fromCacheReference(image, names.endpoint, names.registries);
  return reference && printImageReference(reference);
}

function behind(image: string, { endpoint }: EndpointNames): string {
  return image.slice(endpoint.length + 1);
}
