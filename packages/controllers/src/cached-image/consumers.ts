import { controllerOf, type KubeObject, keyOf } from "@cache-registry/kube/object";
import {
  CRON_JOBS,
  DAEMON_SETS,
  JOBS,
  REPLICA_SETS,
  type Resource,
  STATEFUL_SETS,
} from "@cache-registry/kube/resource";
import type { Job, PodSpec, ReplicaSet } from "@cache-registry/kube/workloads";
import { type CacheNames, usedReferences } from "../pod/pod-images.ts";
import type { Consumer, Revision } from "./usage.ts";

type Reading = { readonly names: CacheNames; readonly intern: (reference: string) => string };

/** An owner of pods: where it is listed, and what is kept of it. Deployments are counted by their ReplicaSets. */
export type OwnerKind = {
  readonly resource: Resource<KubeObject>;
  readonly consumerOf: (object: KubeObject, reading: Reading) => Consumer;
};

const REVISION_ANNOTATION = "deployment.kubernetes.io/revision";

export const OWNER_KINDS: readonly OwnerKind[] = [
  ownerKind(REPLICA_SETS, (set) => set.spec?.template?.spec, revisionOf),
  ownerKind(STATEFUL_SETS, (set) => set.spec?.template?.spec),
  ownerKind(DAEMON_SETS, (set) => set.spec?.template?.spec),
  ownerKind(CRON_JOBS, (job) => job.spec?.jobTemplate?.spec?.template?.spec),
  // A finished Job starts no pod any more; a suspended one may.
  ownerKind(JOBS, (job) => (isFinished(job) ? undefined : job.spec?.template?.spec)),
];

/** `template`: the spec of the pods that the owner would start, if any. */
function ownerKind<T extends KubeObject>(
  resource: Resource<T>,
  template: (object: T) => PodSpec | undefined,
  revision?: (object: T) => Revision | undefined,
): OwnerKind {
  return {
    resource: resource as Resource<KubeObject>,
    consumerOf(listed, { names, intern }) {
      const object = listed as T; // it comes from a list of `resource`
      const images = usedReferences(template(object), names).map(intern);
      const key = `${resource.kind}/${keyOf(object)}`;
      return { key, images, revision: revision?.(object), generation: object.metadata.generation };
    },
  };
}

function revisionOf(set: ReplicaSet): Revision | undefined {
  const deployment = controllerOf(set);
  if (deployment?.kind !== "Deployment") return undefined;
  const number = Number(set.metadata.annotations?.[REVISION_ANNOTATION] ?? 0);
  return { group: deployment.uid, number, active: (set.spec?.replicas ?? 1) > 0 };
}

function isFinished(job: Job): boolean {
  const conditions = job.status?.conditions ?? [];
  return conditions.some(({ type, status }) => (type === "Complete" || type === "Failed") && status === "True");
}
