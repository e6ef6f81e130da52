import { MANAGED_LABEL } from "@cache-registry/core/labels";
import { controllerOf } from "@cache-registry/kube/object";
import type { ObjectName } from "@cache-registry/kube/resource";
import type { Pod } from "@cache-registry/kube/workloads";
import { type PodLife, podLife } from "../loops/pod-life.ts";
import type { ProxyPod } from "../node/proxy-index.ts";
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
  /** Only of young pods whose images were rewritten. */
  readonly life?: PodLife | undefined;
  /** Only of our own proxies. */
  readonly proxy?: ProxyPod | undefined;
};

export type RecordingRules = {
  readonly mode: RecordingMode;
  readonly names: CacheNames;
  /** Namespaces whose private images the cache shares. */
  readonly sharedNamespaces: ReadonlySet<string>;
};

export type PodReading = RecordingRules & {
  readonly intern: (reference: string) => string;
  /** Milliseconds; older pods are no matter of the loop detector. */
  readonly shortLife: number;
  /** The proxies' DaemonSet. */
  readonly daemonSet?: ObjectName | undefined;
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
  { mode, names, sharedNamespaces, intern, shortLife, daemonSet }: PodReading,
): PodRecord {
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
    // In mirror mode nothing was rewritten that anybody could object to.
    life: podLife(pod, { rewritten: mode === "rewrite" ? recorded : NONE, shortLife, now: Date.now() }),
    proxy: daemonSet && proxyPod(pod, daemonSet),
  };
}

function pullSecretsOf({ spec }: Pod): readonly string[] {
  return (spec?.imagePullSecrets ?? []).flatMap(({ name }) => (name ? [name] : []));
}

function proxyPod(pod: Pod, daemonSet: ObjectName): ProxyPod | undefined {
  const owner = controllerOf(pod);
  const node = pod.spec?.nodeName;
  const ours = owner?.kind === "DaemonSet" && owner.name === daemonSet.name;
  if (!ours || pod.metadata.namespace !== daemonSet.namespace || node === undefined || isOver(pod)) return undefined;
  const ready = pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
  return { node, ready };
}
