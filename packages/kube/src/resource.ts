import { API_GROUP, API_VERSION } from "@cache-registry/core/labels";
import type { CachedImage } from "./cached-image.ts";
import type { KubeObject } from "./object.ts";
import type {
  ConfigMap,
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  Lease,
  MutatingWebhookConfiguration,
  Namespace,
  Node,
  Pod,
  ReplicaSet,
  Secret,
  StatefulSet,
} from "./workloads.ts";

/** Where a kind lives in the API. `T` is the type of its objects and exists for the compiler only. */
export type Resource<T extends KubeObject> = {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly "~object"?: T;
};

export type ObjectName = { readonly name: string; readonly namespace?: string };

export const PODS: Resource<Pod> = core("pods", "Pod");
export const NAMESPACES: Resource<Namespace> = { ...core("namespaces", "Namespace"), namespaced: false };
export const NODES: Resource<Node> = { ...core("nodes", "Node"), namespaced: false };
export const CONFIG_MAPS: Resource<ConfigMap> = core("configmaps", "ConfigMap");
export const SECRETS: Resource<Secret> = core("secrets", "Secret");
export const SERVICES: Resource<KubeObject> = core("services", "Service");
export const SERVICE_ACCOUNTS: Resource<KubeObject> = core("serviceaccounts", "ServiceAccount");
export const REPLICA_SETS: Resource<ReplicaSet> = namespaced("apps", "replicasets", "ReplicaSet");
export const DEPLOYMENTS: Resource<Deployment> = namespaced("apps", "deployments", "Deployment");
export const STATEFUL_SETS: Resource<StatefulSet> = namespaced("apps", "statefulsets", "StatefulSet");
export const DAEMON_SETS: Resource<DaemonSet> = namespaced("apps", "daemonsets", "DaemonSet");
export const CRON_JOBS: Resource<CronJob> = namespaced("batch", "cronjobs", "CronJob");
export const JOBS: Resource<Job> = namespaced("batch", "jobs", "Job");
export const LEASES: Resource<Lease> = namespaced("coordination.k8s.io", "leases", "Lease");
export const MUTATING_WEBHOOK_CONFIGURATIONS: Resource<MutatingWebhookConfiguration> = {
  ...namespaced("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
  namespaced: false,
};
export const EVENTS: Resource<KubeObject> = namespaced("events.k8s.io", "events", "Event");
export const CACHED_IMAGES: Resource<CachedImage> = {
  group: API_GROUP,
  version: API_VERSION,
  plural: "cachedimages",
  kind: "CachedImage",
  namespaced: false,
};

export function apiVersionOf(resource: Resource<KubeObject>): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** `/apis/apps/v1/namespaces/default/deployments`; without a namespace all of them. */
export function collectionPath(resource: Resource<KubeObject>, namespace?: string): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${resource.plural}`;
}

export function objectPath(resource: Resource<KubeObject>, at: ObjectName, subresource?: string): string {
  const path = `${collectionPath(resource, at.namespace)}/${encodeURIComponent(at.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function core(plural: string, kind: string): Resource<never> {
  return { group: "", version: "v1", plural, kind, namespaced: true };
}

function namespaced(group: string, plural: string, kind: string): Resource<never> {
  return { group, version: "v1", plural, kind, namespaced: true };
}
