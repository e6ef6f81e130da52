import { fromCacheReference } from "@cache-registry/core/cache-reference";
import { printImageReference } from "@cache-registry/core/image-reference";
import type { Container, ContainerStatus, Pod } from "@cache-registry/kube/workloads";
import type { CacheNames } from "./pod-images.ts";

/** A container that waits because the pull of its rewritten image was refused. */
export type RefusedPull = {
  readonly podUid: string | undefined;
  /** Where the image stands in the pod's spec. */
  readonly list: "containers" | "initContainers";
  readonly index: number;
  readonly container: string;
  /** The image as it is now, below the endpoint. */
  readonly cached: string;
  /** What it stands for, spelled out. */
  readonly original: string;
  /** In the container runtime's words. */
  readonly message: string;
};

const NONE: readonly RefusedPull[] = [];
const WAITING = new Set(["ErrImagePull", "ImagePullBackOff", "SignatureValidationFailed"]);

/**
 * Answers that another try through the cache will not change: no (401, 403, and what registries and runtimes say with
 * them), and not found, which is how many registries say no to those who bring no credentials. Nodes may have
 * credentials for the original name. Everything else (429, 5xx, time-outs, a proxy that is not there) passes.
 */
const REFUSED = [
  /\b401\b:? unauthorized|\b403\b:? forbidden/i,
  /unauthorized:|authentication required|authorization failed|insufficient_scope|no basic auth credentials/i,
  /access (?:to the resource is )?denied|(?<!permission )denied:/i,
  /: not found\b|code = NotFound|manifest unknown|name unknown|repository does not exist/i,
  // CRI-O's policy.json goes by the name of the image, and may refuse all but some registries.
  /source image rejected|rejected by policy|signature validation failed/i,
  // CRI-O asks localhost by HTTPS, too, unless its registries.conf says otherwise.
  /server gave HTTP response to HTTPS client/i,
];

export function isRefusal(message: string): boolean {
  return REFUSED.some((pattern) => pattern.test(message));
}

/**
 * The refused pulls of a pod that can be undone: the API server lets the images of containers and init containers be
 * changed, those of ephemeral containers and image volumes never. The original is computed from the image itself.
 */
export function refusedPulls(pod: Pod, { endpoint, registries }: CacheNames): readonly RefusedPull[] {
  const { spec, status } = pod;

  function inList(list: RefusedPull["list"], statuses: readonly ContainerStatus[] | undefined): readonly RefusedPull[] {
    return (statuses ?? []).flatMap(({ name, state }) => {
      const { reason = "", message = "" } = state?.waiting ?? {};
      if (!WAITING.has(reason) || !isRefusal(message)) return [];
      const containers: readonly Container[] = spec?.[list] ?? [];
      const index = containers.findIndex((container) => container.name === name);
      const cached = containers[index]?.image ?? "";
      // The message may still be about an image that was replaced since.
      const isMeant = message.includes(cached) || message.includes(withoutTag(cached));
      const reference = isMeant ? fromCacheReference(cached, endpoint, registries) : undefined;
      if (reference === undefined) return [];
      const original = printImageReference(reference);
      return [{ podUid: pod.metadata.uid, list, index, container: name, cached, original, message }];
    });
  }

  const refused = [
    ...inList("initContainers", status?.initContainerStatuses),
    ...inList("containers", status?.containerStatuses),
  ];
  return refused.length === 0 ? NONE : refused;
}

/**
 * Of an image with tag and digest what containerd says of it: it drops the tag. Kubelets before 1.32 add nothing to that
 * which would name the image as the pod does.
 */
function withoutTag(image: string): string {
  return image.replace(/:[^:/@]+@/, "@");
}
