/**
 * The shapes that every object of the Kubernetes API shares; only the fields we use.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
 */
export type OwnerReference = {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
};

export type ObjectMeta = {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
};

export type KubeObject = { apiVersion?: string; kind?: string; metadata: ObjectMeta };

export type ListMeta = { resourceVersion?: string; continue?: string; remainingItemCount?: number };
export type ObjectList<T> = { metadata: ListMeta; items: T[] };

/** `namespace/name`, or the name alone for cluster-scoped objects: the key of informers and work queues. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The reference marked `controller`, i.e. the object that would recreate this one. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/**
 * Is `a` newer than `b`? Resource versions of one resource are decimal numbers of growing value
 * (Kubernetes 1.35 made the comparison part of the API; etcd revisions before that).
 */
export function isNewer(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined) return false;
  if (b === undefined) return true;
  return a.length === b.length ? a > b : a.length > b.length;
}
