import { messageOf } from "@cache-registry/core/errors";
import { ApiError, isConflict, isInvalid, isNotFound, isPassing } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { controllerOf, keyOf } from "@cache-registry/kube/object";
import { eachObject } from "@cache-registry/kube/pages";
import { PODS } from "@cache-registry/kube/resource";
import type { Pod } from "@cache-registry/kube/workloads";
import { sleep } from "@cache-registry/runtime/backoff";
import { type EndpointNames, type WayOut, wayOut } from "./rewritten-pod.ts";

/** A pod that still names the cache, and why. */
export type Remaining = { readonly pod: string; readonly why: string };

export type RestoreProgress = {
  readonly evicted: number;
  readonly patched: number;
  readonly remaining: readonly Remaining[];
};

export type RestoreDeps = {
  readonly client: KubeClient;
  readonly names: EndpointNames;
  /** Only these; all when left out. */
  readonly concerns?: (pod: Pod) => boolean;
  readonly signal: AbortSignal;
  /** Milliseconds from now; what names the cache then is what `remaining` says. */
  readonly timeout: number;
  /** Only say what would be done. */
  readonly dryRun?: boolean;
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** Milliseconds between two looks. */
  readonly interval?: number;
  /** Milliseconds; see SETTLED. */
  readonly settled?: number;
};

/**
 * A pod that appears so long after the beginning was not rewritten any more, as the webhook was gone by then: its own
 * template names the cache.
 */
const SETTLED = 20_000;
/** A pod that should have been gone so long ago: its node is away. Clocks differ by less. */
const OVERDUE = 60_000;

/** `lasting`: waiting alone does not change it. */
type Obstacle = { readonly why: string; readonly lasting?: boolean };

const ENDING: Obstacle = { why: "it is ending" };
const CHANGING: Obstacle = { why: "it is changing" };

function letFinish(pod: Pod): Obstacle {
  const job = controllerOf(pod);
  if (job === undefined) return { why: "it is let finish; deleting it would end it" };
  return { why: `Job ${job.name} is let finish; deleting it would end it` };
}

/**
 * Until no pod names the cache: those with a controller are evicted (budgets are honoured, templates left alone), bare pods
 * are patched in place, Jobs are let finish. Ends when a look finds no such pod, or none that time would change.
 */
export async function restorePods(deps: RestoreDeps): Promise<RestoreProgress> {
  const { client, signal, timeout, dryRun = false, interval = 2_000, settled = SETTLED } = deps;
  const began = performance.now();
  const known = new Set<string>();
  const templated = new Set<string>();
  let [evicted, patched] = [0, 0];

  /** What stands in the way of the pod, undefined when it is mended. `late`: the look that found it began that late. */
  async function help(pod: Pod, way: WayOut, late: boolean): Promise<Obstacle | undefined> {
    const uid = pod.metadata.uid ?? "";
    const isNew = !known.has(uid);
    known.add(uid);
    if (pod.metadata.deletionTimestamp !== undefined) return ENDING;
    if (way.action === "finish") return letFinish(pod);
    if (way.action === "stay") return { why: way.why, lasting: true };
    if (way.action === "patch") {
      if (dryRun) return { why: `would get ${way.containers.map(({ original }) => original).join(", ")} in place` };
      return patch(pod, way.containers);
    }
    if (isNew && late) templated.add(uid);
    if (templated.has(uid)) return { why: "the template of its controller itself names the cache", lasting: true };
    return dryRun ? { why: "would be evicted" } : evict(pod);
  }

  async function evict(pod: Pod): Promise<Obstacle | undefined> {
    const { namespace = "", name, uid } = pod.metadata;
    try {
      await client.evict({ namespace, name }, { signal, preconditions: { ...(uid ? { uid } : {}) } });
      evicted += 1;
      return ENDING;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      // Another pod has its name by now, which has not been looked at.
      if (isConflict(error)) return CHANGING;
      if (error instanceof ApiError && error.status === 429)
        return { why: "a PodDisruptionBudget does not allow its eviction now" };
      return obstacleOf(error);
    }
  }

  async function patch(pod: Pod, containers: Extract<WayOut, { action: "patch" }>["containers"]) {
    const { namespace = "", name, uid } = pod.metadata;
    const operations = containers.flatMap(({ list, index, cached, original }) => {
      const path = `/spec/${list}/${index}/image`;
      return [
        { op: "test", path, value: cached },
        { op: "replace", path, value: original },
      ] as const;
    });
    try {
      const test = { op: "test", path: "/metadata/uid", value: uid } as const;
      await client.patch(PODS, { namespace, name }, { operations: [test, ...operations], signal });
      patched += 1;
      return undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      // It changed meanwhile: the next look decides anew.
      return isConflict(error) || isInvalid(error) ? CHANGING : obstacleOf(error);
    }
  }

  function obstacleOf(error: unknown): Obstacle {
    if (signal.aborted) throw error;
    return { why: messageOf(error), lasting: error instanceof ApiError && error.status === 403 };
  }

  /** Control planes are updated while budgets are waited for: a moment without them is no reason to give up. */
  async function look(): Promise<{ pod: Pod; way: WayOut }[]> {
    for (;;) {
      try {
        return await affectedPods(deps);
      } catch (error) {
        if (signal.aborted || dryRun || !isPassing(error) || performance.now() - began > timeout) throw error;
      }
      await sleep(interval, signal);
    }
  }

  for (;;) {
    const remaining: Remaining[] = [];
    let waiting = false;
    // By the beginning of the look: to help thousands of pods takes minutes.
    const late = performance.now() - began > settled;
    const affected = await look();
    for (const { pod, way } of affected) {
      const obstacle = await help(pod, way, late);
      if (obstacle === undefined) continue;
      remaining.push({ pod: keyOf(pod), why: obstacle.why });
      if (!obstacle.lasting) waiting = true;
    }
    const progress = { evicted, patched, remaining };
    deps.onProgress?.(progress);
    // What was mended is looked at once more: pods come while others are helped.
    const done = affected.length === 0 || (remaining.length > 0 && !waiting);
    if (done || dryRun || performance.now() - began > timeout) return progress;
    await sleep(interval, signal);
  }
}

/** Only those that name the cache are kept. */
async function affectedPods({ client, names, signal, concerns }: RestoreDeps): Promise<{ pod: Pod; way: WayOut }[]> {
  const found: { pod: Pod; way: WayOut }[] = [];
  for await (const pod of eachObject(client, PODS, { signal })) {
    const way = concerns?.(pod) === false || isOverdue(pod) ? undefined : wayOut(pod, names);
    if (way) found.push({ pod, way });
  }
  return found;
}

/** The kubelet starts nothing in a pod that is being deleted, so it needs no cache, however long its node stays away. */
function isOverdue({ metadata: { deletionTimestamp } }: Pod): boolean {
  return deletionTimestamp !== undefined && Date.parse(deletionTimestamp) + OVERDUE < Date.now();
}
