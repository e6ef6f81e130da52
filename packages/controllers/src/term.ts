import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import { createController } from "@cache-registry/kube/controller";
import type { EventRecorder } from "@cache-registry/kube/events";
import type { InformerTiming } from "@cache-registry/kube/informer";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createExpire } from "./cached-image/expire.ts";
import { createLiveUsage } from "./cached-image/live-usage.ts";
import { createPrewarm, PREWARM_TIMING, type PrewarmTiming } from "./cached-image/prewarm.ts";
import { createCachedImageReconciler } from "./cached-image/reconciler.ts";
import { createReleaseReconciler, createReleaseSweep } from "./cached-image/release.ts";
import { createSourceIndex, referenceOf } from "./cached-image/source-index.ts";
import { createUsageIndex } from "./cached-image/usage.ts";
import { type ClusterRules, createClusterTerm } from "./cluster-term.ts";
import { shortLifeOf } from "./loops/loop-detector.ts";
import { createNodePlatforms } from "./node/node-platforms.ts";
import type { CacheNames, RecordingMode } from "./pod/pod-images.ts";
import { createPodReconciler } from "./pod/pod-reconciler.ts";
import { createRestoreReconciler } from "./pod/restore-reconciler.ts";
import { createPullSecrets } from "./pull-secrets/pull-secrets.ts";
import type { ManagementClient } from "./registry/management-client.ts";
import { createRegistryMonitor } from "./registry/registry-monitor.ts";
import { connectUsage, createWatches } from "./watches.ts";

/** Milliseconds. */
export type TermTiming = {
  readonly prewarm: PrewarmTiming;
  readonly informer: Partial<InformerTiming>;
  readonly askRegistry: number;
  /** Between two looks at the ConfigMap that was written. */
  readonly verifyState: number;
  readonly sweep: number;
  readonly resync: number;
  /** How long images are kept for a platform after its last node. */
  readonly platformLinger: number;
  /** How long a shared private image may be refused until its credentials have arrived at the registry. */
  readonly sharePatience: number;
};

export const TERM_TIMING: TermTiming = {
  prewarm: PREWARM_TIMING,
  informer: {},
  askRegistry: 5_000,
  verifyState: 60_000,
  sweep: 300_000,
  resync: 600_000,
  platformLinger: 3_600_000,
  sharePatience: 60_000,
};

export type TermDeps = {
  readonly client: KubeClient;
  readonly registry: ManagementClient;
  readonly events: EventRecorder;
  readonly owner: string;
  readonly mode: RecordingMode;
  readonly names: CacheNames;
  readonly expiryDelay: number;
  readonly platforms: readonly string[] | "auto";
  /** Whose pull secrets may be read. */
  readonly sharedNamespaces: ReadonlySet<string>;
  readonly revisionsKept: number;
  readonly cluster: ClusterRules;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timing?: Partial<TermTiming>;
};

/** What one replica does while it leads: watches, pod and cached-image controller, release, the cluster's state. */
export type Term = {
  run(signal: AbortSignal): Promise<void>;
  /** Why the work does not go on, if so. */
  problem(): string | undefined;
  /** What is wrong elsewhere and makes images wait. */
  warning(): string | undefined;
  images(): Iterable<CachedImage>;
};

export function createTerm(deps: TermDeps): Term {
  const { client, registry, owner, logger, metrics, expiryDelay, revisionsKept, names, events } = deps;
  const timing = { ...TERM_TIMING, ...deps.timing };
  const now = (): Date => new Date();
  const usage = createUsageIndex({ revisionsKept });
  const sources = createSourceIndex();
  const watches = createWatches({
    ...deps,
    ...deps.cluster,
    shortLife: shortLifeOf(deps.cluster.loops),
    usage,
    timing: timing.informer,
  });
  const { pods, images } = watches;
  const informers = [pods, images, watches.nodes, ...watches.owners];
  const cluster = createClusterTerm({
    ...deps,
    watches,
    rules: deps.cluster,
    timing: { look: timing.askRegistry, verify: timing.verifyState },
  });
  const monitor = createRegistryMonitor({ registry, logger, now, interval: timing.askRegistry });
  const clock = (): number => performance.now();
  const prewarm = createPrewarm({ registry, monitor, owner, clock, timing: timing.prewarm });
  const expire = createExpire({ client, logger, liveUsage: createLiveUsage({ client, names, revisionsKept }) });
  const { confidential } = registry;
  const pullSecrets = createPullSecrets({ ...deps, pods, usage, confidential });

  const podController = createController({
    name: "pod",
    reconcile: createPodReconciler({ client, pods, images, sources, pullSecrets, logger }),
    concurrency: 4,
    informers,
    resync: { interval: timing.resync, keys: () => pods.keys() },
    logger,
    metrics,
  });
  const restoreController = createController({
    name: "refused-pull",
    reconcile: createRestoreReconciler({ client, pods, events, logger, metrics, sharePatience: timing.sharePatience }),
    concurrency: 2,
    informers: [pods],
    logger,
    metrics,
  });
  const imageController = createController({
    name: "cached-image",
    reconcile: createCachedImageReconciler({
      client,
      images,
      usage,
      prewarm,
      expire,
      monitor,
      events,
      expiryDelay,
      pullSecrets,
      platforms: () => (deps.platforms === "auto" ? nodePlatforms.current() : deps.platforms),
      now,
    }),
    concurrency: 8,
    informers,
    resync: { interval: timing.resync, keys: () => images.keys() },
    logger,
    metrics,
  });
  const enqueueImage = (name: string): void => imageController.enqueue(name);
  const enqueueRelease = (reference: string): void => releaseController.enqueue(reference);
  const release = { client, registry, owner, sources, prewarm, logger, enqueueImage };
  const releaseController = createController({
    name: "release",
    reconcile: createReleaseReconciler(release),
    concurrency: 2,
    informers,
    logger,
    metrics,
  });
  const sweep = createReleaseSweep({ ...release, interval: timing.sweep, enqueueRelease });

  const spreadImages = (): void => {
    for (const key of images.keys()) imageController.enqueueAfter(key, Math.random() * timing.askRegistry);
  };
  const linger = timing.platformLinger;
  const nodePlatforms = createNodePlatforms({ nodes: watches.nodes, onNew: spreadImages, clock, linger });

  function connect(): void {
    const enqueueImages = (reference: string): void => {
      for (const name of sources.namesOf(reference)) imageController.enqueue(name);
    };
    connectUsage(watches, usage, enqueueImages);
    pods.onChange(({ type, key, object }) => {
      if (type !== "deleted" && object.recorded.length > 0) podController.enqueue(key);
      if (type !== "deleted" && object.refused.length > 0) restoreController.enqueue(key);
    });
    images.onChange((change) => {
      sources.apply(change);
      imageController.enqueue(change.key);
      const reference = referenceOf(change.object);
      if (change.type !== "deleted" || reference === undefined) return;
      releaseController.enqueue(reference);
      // Somebody deleted the record of an image that is in use: it is made again.
      for (const pod of usage.usersOf(reference).pods) podController.enqueue(pod);
    });
    monitor.onReturn(spreadImages);
  }

  connect();
  return {
    images: () => images.values(),
    warning: () => monitor.down && `registry not reachable: ${monitor.down.message}`,
    problem: () => informers.map((informer) => informer.problem()).find((problem) => problem !== undefined),
    async run(signal) {
      const synced = Promise.all(informers.map((informer) => informer.synced(signal)));
      const swept = synced.then(
        () => sweep(signal),
        () => undefined,
      );
      await Promise.all([
        ...informers.map((informer) => informer.run(signal)),
        monitor.run(signal),
        cluster.run(signal),
        podController.run(signal),
        restoreController.run(signal),
        imageController.run(signal),
        releaseController.run(signal),
        swept,
      ]);
    },
  };
}
