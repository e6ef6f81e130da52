import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import { createInformer, type Informer, type InformerTiming } from "@cache-registry/kube/informer";
import { CACHED_IMAGES, NODES, type ObjectName, PODS } from "@cache-registry/kube/resource";
import type { Node, Pod } from "@cache-registry/kube/workloads";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { OWNER_KINDS } from "./cached-image/consumers.ts";
import type { Consumer, UsageIndex } from "./cached-image/usage.ts";
import { type NodeRecord, nodeRecord } from "./node/node-record.ts";
import type { CacheNames, RecordingMode } from "./pod/pod-images.ts";
import { type PodRecord, podRecord } from "./pod/pod-record.ts";

export type WatchesOptions = {
  readonly client: KubeClient;
  readonly mode: RecordingMode;
  readonly names: CacheNames;
  readonly sharedNamespaces: ReadonlySet<string>;
  readonly usage: UsageIndex;
  /** Milliseconds; see PodReading. */
  readonly shortLife: number;
  readonly daemonSet?: ObjectName | undefined;
  /** Key of the taint whose presence on a node is recorded. */
  readonly nodeTaint?: string | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timing?: Partial<InformerTiming>;
};

/** The copies of the cluster that the controllers read, each reduced to what they need. */
export type Watches = {
  readonly pods: Informer<PodRecord, Pod>;
  readonly images: Informer<CachedImage, CachedImage>;
  readonly owners: readonly Informer<Consumer>[];
  readonly nodes: Informer<NodeRecord, Node>;
};

export function createWatches(options: WatchesOptions): Watches {
  const { client, mode, names, sharedNamespaces, usage, shortLife, daemonSet, logger, metrics, timing } = options;
  const intern = (reference: string): string => usage.intern(reference);
  const shared = { client, logger, metrics, timing };

  const owners = OWNER_KINDS.map(({ resource, consumerOf }) =>
    createInformer({ ...shared, resource, transform: (object) => consumerOf(object, { names, intern }) }),
  );

  const pods = createInformer({
    ...shared,
    resource: PODS,
    transform: (pod) => podRecord(pod, { mode, names, sharedNamespaces, intern, shortLife, daemonSet }),
  });

  const images = createInformer({
    ...shared,
    resource: CACHED_IMAGES,
    // Who wrote which field is of no interest here and often larger than the rest.
    transform: (image) => ({ ...image, metadata: { ...image.metadata, managedFields: undefined } }),
  });

  const nodes = createInformer({
    ...shared,
    resource: NODES,
    transform: (node) => nodeRecord(node, { taint: options.nodeTaint }),
  });

  return { pods, images, owners, nodes };
}

/** Feeds the usage index; `onUse` hears the references whose users may have changed. */
export function connectUsage(watches: Watches, usage: UsageIndex, onUse: (reference: string) => void): void {
  const tell = (references: ReadonlySet<string>): void => {
    for (const reference of references) onUse(reference);
  };
  watches.pods.onChange(({ type, key, object }) => {
    const consumer = { key: `Pod/${key}`, images: object.images };
    tell(type === "deleted" || object.images.length === 0 ? usage.remove(consumer.key) : usage.put(consumer));
  });
  for (const owners of watches.owners) {
    owners.onChange(({ type, object }) => tell(type === "deleted" ? usage.remove(object.key) : usage.put(object)));
  }
}
