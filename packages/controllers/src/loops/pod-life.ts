import type { LoopingOwner } from "@cache-registry/core/cluster-state";
import { controllerOf } from "@cache-registry/kube/object";
import type { Pod } from "@cache-registry/kube/workloads";

/** The object that would make a pod again; a pod without a controller is its own owner. */
export type PodOwner = Omit<LoopingOwner, "until"> & { readonly uid: string | undefined };

/** What the loop detector needs of a young rewritten pod. */
export type PodLife = {
  readonly owner: PodOwner;
  /** The same for pods of one revision: the labels that controllers give their revisions, and the images. */
  readonly template: string;
  /** Unix milliseconds, by the API server's clock. */
  readonly created: number;
  /** Somebody asked for its deletion. */
  readonly ending: boolean;
};

/** https://kubernetes.io/docs/reference/labels-annotations-taints/ */
const REVISION_LABELS = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];

/**
 * Undefined for pods whose end means nothing: those older than `shortLife`; those that ended by themselves (Jobs); those
 * that crashed (their own fault); those that the cluster took away (eviction, preemption, taints: the API server or the
 * scheduler marks them with the condition DisruptionTarget).
 * https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
 */
export function podLife(
  pod: Pod,
  { rewritten, shortLife, now }: { readonly rewritten: readonly string[]; shortLife: number; now: number },
): PodLife | undefined {
  const { metadata, status } = pod;
  const created = Date.parse(metadata.creationTimestamp ?? "");
  if (rewritten.length === 0 || !(now - created <= shortLife)) return undefined;
  const disrupted = status?.conditions?.some(({ type, status }) => type === "DisruptionTarget" && status === "True");
  if (disrupted || hasCrashed(pod)) return undefined;
  const revisions = REVISION_LABELS.map((label) => metadata.labels?.[label] ?? "");
  const template = [...revisions, ...rewritten.toSorted()].join(" ");
  return { owner: ownerOf(pod), template, created, ending: metadata.deletionTimestamp !== undefined };
}

function ownerOf({ metadata }: Pod): PodOwner {
  const namespace = metadata.namespace ?? "";
  const controller = controllerOf({ metadata });
  if (!controller) return { namespace, apiVersion: "v1", kind: "Pod", name: metadata.name, uid: metadata.uid };
  const { apiVersion, kind, name, uid } = controller;
  return { namespace, apiVersion, kind, name, uid };
}

/** Init containers end when they are done; a restart is a failure in all of them. */
function hasCrashed({ status }: Pod): boolean {
  const containers = status?.containerStatuses ?? [];
  const restarted = [...containers, ...(status?.initContainerStatuses ?? [])].some(
    ({ restartCount = 0 }) => restartCount > 0,
  );
  return restarted || containers.some(({ state }) => state?.terminated !== undefined);
}
