import { MANAGED_LABEL } from "@cache-registry/core/labels";
import { controllerOf } from "@cache-registry/kube/object";
import type { Pod } from "@cache-registry/kube/workloads";
import { type CacheNames, type RecordingMode, recordedReferences, usedReferences } from "./pod-images.ts";
import { type RefusedPull, refusedPulls } from "./refused-pull.ts";

/** All that is kept of a pod in memory. */
export type PodRecord = {
  readonly namespace: string;
  readonly name: string;
  /** `ReplicaSet/web-5d8c`. */
  readonly owner: string | undefined;
  /** References that the pod uses. */
  readonly images: readonly string[];
  /** Those that give CachedImages. */
  readonly recorded: readonly string[];
  /** Rewritten images that the kubelet was refused; nearly always none. */
  readonly refused: readonly RefusedPull[];
  /** Names of its pull secrets, where those may be read; the API server has added its ServiceAccount's. */
  readonly pullSecrets: readonly string[];
};

export type RecordingRules = {
  readonly mode: RecordingMode;
  readonly names: CacheNames;
  /** Namespaces whose private images the cache shares. */
  readonly sharedNamespaces: ReadonlySet<string>;
};

const NONE: readonly never[] = [];

/**
 * A pod that has Succeeded or Failed is over: the kubelet starts nothing in it again, whatever its restartPolicy (what is
 * restarted keeps the pod Running). Such pods can lie around for weeks, so they neither use nor record images; their
 * owners (CronJobs, unfinished Jobs, …) are counted by themselves. A pod that is being deleted counts until it is gone.
 */
export function isOver(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function podRecord(
  pod: Pod,
  options: RecordingRules & { readonly intern: (reference: string) => string },
): PodRecord {
  const { mode, names, intern, sharedNamespaces } = options;
  const owner = controllerOf(pod);
  const over = isOver(pod);
  const managed = pod.metadata.labels?.[MANAGED_LABEL] === "true";
  const shared = sharedNamespaces.has(pod.metadata.namespace ?? "");
  const recorded = over || !managed ? NONE : recordedReferences(pod.spec, { mode, names, shared }).map(intern);
  return {
    namespace: pod.metadata.namespace ?? "",
    name: pod.metadata.name,
    owner: owner && `${owner.kind}/${owner.name}`,
    images: over ? NONE : usedReferences(pod.spec, names).map(intern),
    recorded,
    refused: over || !managed ? NONE : refusedPulls(pod, names),
    pullSecrets: shared && recorded.length > 0 ? pullSecretsOf(pod) : NONE,
  };
}

function pullSecretsOf({ spec }: Pod): readonly string[] {
  return (spec?.imagePullSecrets ?? []).flatMap(({ name }) => (name ? [name] : []));
}
