import type { ClusterRules } from "../../packages/controllers/src/cluster-term.ts";
import { createManagementClient } from "../../packages/controllers/src/registry/management-client.ts";
import {
  createTerm,
  TERM_TIMING,
  type Term,
  type TermDeps,
  type TermTiming,
} from "../../packages/controllers/src/term.ts";
import { type CachedImage, cachedImageName } from "../../packages/kube/src/cached-image.ts";
import { createClient, type KubeClient } from "../../packages/kube/src/client.ts";
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  cachedImageDefinition,
} from "../../packages/kube/src/custom-resource-definition.ts";
import { createEventRecorder } from "../../packages/kube/src/events.ts";
import { type KubeObject, keyOf } from "../../packages/kube/src/object.ts";
import { CACHED_IMAGES, EVENTS, PODS, type Resource } from "../../packages/kube/src/resource.ts";
import type { Pod } from "../../packages/kube/src/workloads.ts";
import { silentLogger } from "../../packages/runtime/src/logger.ts";
import { createMetrics, type Metrics } from "../../packages/runtime/src/metrics.ts";
import type { ApiServer } from "./api-server.ts";
import { eventually } from "./eventually.ts";

/** Short, so that a test need not wait; the logic is the same. */
export const FAST: TermTiming = {
  prewarm: {
    ...TERM_TIMING.prewarm,
    lookAtReady: 2_000,
    lookAtStale: 1_000,
    lookAtMoving: 200,
    lookAtUnreachable: 300,
    retryInitial: 300,
    retryMax: 1_000,
    retryNoSpaceInitial: 600,
    retryNoSpaceMax: 2_000,
    lookAfterRefresh: 300,
    refresh: 1_000,
    refreshStale: 500,
  },
  informer: { retryInitial: 100, retryMax: 1_000 },
  askRegistry: 300,
  verifyState: 1_000,
  sweep: 700,
  resync: 60_000,
  platformLinger: 1_000,
  sharePatience: 1_000,
};

export const CLUSTER_RULES: ClusterRules = {
  health: { registryUnready: 1_000, proxiesUnready: 10, recovered: 1_000 },
  loops: { recreations: 5, within: 600_000, leaveAloneFor: 86_400_000 },
};

export const ENDPOINT = "localhost:7439";
export const OWNER = "test-cluster";

export type RunningTerm = { readonly term: Term; readonly metrics: Metrics; stop(): Promise<void> };

/** The controllers as the leader runs them, in this process. */
export function runTerm(client: KubeClient, url: string, options: Partial<TermDeps> = {}): RunningTerm {
  const logger = silentLogger();
  const metrics = createMetrics({ defaultMetrics: false });
  const registry = createManagementClient({ url, token: async () => undefined });
  const events = createEventRecorder({ client, controller: "test/controllers", instance: "test-0", logger });
  const names = { endpoint: ENDPOINT, registries: new Set<string>() };
  const rules = {
    owner: OWNER,
    mode: "rewrite",
    names,
    expiryDelay: 3_000,
    revisionsKept: 2,
    platforms: "auto",
  } as const;
  const sharedNamespaces = new Set<string>();
  const common = { client, registry, sharedNamespaces, events, logger, metrics, timing: FAST, cluster: CLUSTER_RULES };
  const term = createTerm({ ...common, ...rules, ...options });
  const ending = new AbortController();
  const running = term.run(ending.signal);
  return {
    term,
    metrics,
    async stop() {
      ending.abort(new Error("the test is over"));
      await running;
      registry.close();
    },
  };
}

export function connect(server: ApiServer): KubeClient {
  return createClient({ env: { KUBECONFIG: server.kubeconfig }, userAgent: "test", qps: 500 });
}

export async function applyDefinition(client: KubeClient): Promise<void> {
  await client.apply(CUSTOM_RESOURCE_DEFINITIONS, cachedImageDefinition(), { fieldManager: "test" });
  await eventually(() => client.list(CACHED_IMAGES));
}

/** What the webhook makes of a pod: images under the endpoint, and our label. */
export function cachedPod(name: string, images: readonly string[], namespace = "default"): Pod {
  const containers = images.map((image, index) => ({ name: `c${index}`, image: `${ENDPOINT}/${image}` }));
  const labels = { "cache-registry.enix.io/managed": "true" };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels }, spec: { containers } };
}

export function plainPod(name: string, image: string, namespace = "default"): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: { containers: [{ name: "main", image }] },
  };
}

export async function recordOf(client: KubeClient, reference: string): Promise<CachedImage> {
  return client.get(CACHED_IMAGES, { name: cachedImageName(reference) });
}

export async function exists(client: KubeClient, reference: string): Promise<boolean> {
  const { items } = await client.list(CACHED_IMAGES);
  return items.some(({ metadata }) => metadata.name === cachedImageName(reference));
}

/** Everything that a test may have made. */
export async function clean(client: KubeClient, others: readonly Resource<KubeObject>[] = []): Promise<void> {
  const kinds: Resource<KubeObject>[] = [
    PODS as Resource<KubeObject>,
    CACHED_IMAGES as Resource<KubeObject>,
    ...others,
  ];
  const remove = async (resource: Resource<KubeObject>): Promise<string[]> => {
    const { items } = await client.list(resource);
    await Promise.all(items.map(({ metadata }) => client.delete(resource, metadata).catch(() => undefined)));
    return items.map(keyOf);
  };
  await remove(EVENTS);
  await eventually(async () => {
    // Again and again: a write that was given up when the controllers ended may still arrive.
    const left = (await Promise.all(kinds.map(remove))).flat();
    if (left.length > 0) throw new Error(`not gone yet: ${left.join(" ")}`);
  });
}

const CACHED = { apiVersion: "cache-registry.enix.io/v1alpha1", kind: "CachedImage" };

/** A CachedImage as a user would write it. */
export function cachedImage(name: string, spec: CachedImage["spec"]): CachedImage {
  return { ...CACHED, metadata: { name }, spec };
}
