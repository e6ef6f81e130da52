import { ApiError, isConflict, isInvalid, isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { EventNote, EventRecorder } from "@cache-registry/kube/events";
import type { Informer } from "@cache-registry/kube/informer";
import { DONE, type Reconcile } from "@cache-registry/kube/reconcile";
import { PODS } from "@cache-registry/kube/resource";
import type { Pod } from "@cache-registry/kube/workloads";
import { forgetOldest } from "@cache-registry/runtime/forget-oldest";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { PodRecord } from "./pod-record.ts";
import type { RefusedPull } from "./refused-pull.ts";

export type RestoreReconcilerDeps = {
  readonly client: KubeClient;
  readonly pods: Pick<Informer<PodRecord, Pod>, "get" | "observe">;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** How long a pod whose pull secrets are shared may be refused: they have to reach the registry first. Milliseconds. */
  readonly sharePatience: number;
};

/** Containers whose image was given back already; the oldest are forgotten first. */
const MAX_REMEMBERED = 10_000;
/** Of what the container runtime said, as much as a line can bear. */
const MAX_MESSAGE = 300;

/**
 * Pod with a refused pull → its original image, in place, so that the kubelet pulls as it would have without us. Once per
 * container: whoever changes the image again afterwards is not fought. The webhook is not asked about updates of pods.
 */
export function createRestoreReconciler(deps: RestoreReconcilerDeps): Reconcile {
  const { client, pods, events, logger, metrics, sharePatience } = deps;
  const done = new Set<string>();
  /** When a refusal was first seen, where it may pass. */
  const since = new Map<string, number>();
  const counter = metrics.counter({
    name: "refused_pulls_total",
    help: "Rewritten images whose pull was refused: given their original back (restored), or not (failed).",
    labels: ["outcome"],
  });

  function remember(refused: RefusedPull): void {
    done.add(keyOf(refused));
    forgetOldest(done, MAX_REMEMBERED);
  }

  /** Milliseconds. */
  function patienceFor({ pullSecrets }: PodRecord, refused: RefusedPull): number {
    if (pullSecrets.length === 0) return 0;
    const key = keyOf(refused);
    const first = since.get(key) ?? performance.now();
    since.set(key, first);
    forgetOldest(since, MAX_REMEMBERED);
    return Math.max(0, first + sharePatience - performance.now());
  }

  async function restore(pod: PodRecord, refused: RefusedPull, signal: AbortSignal): Promise<void> {
    const { namespace, name } = pod;
    const path = `/spec/${refused.list}/${refused.index}/image`;
    const object = { metadata: { namespace, name, uid: refused.podUid ?? "" } };
    const log = { pod: `${namespace}/${name}`, container: refused.container, image: refused.original };
    try {
      const operations = [
        { op: "test", path: "/metadata/uid", value: refused.podUid },
        { op: "test", path, value: refused.cached },
        { op: "replace", path, value: refused.original },
      ] as const;
      pods.observe(await client.patch(PODS, { namespace, name }, { operations, signal }));
    } catch (error) {
      // Gone, another pod of the same name, or changed by somebody else meanwhile: its own event brings us back.
      if (isNotFound(error) || isConflict(error) || isInvalid(error)) return;
      if (!isFinal(error)) throw error;
      remember(refused);
      counter.inc({ outcome: "failed" });
      logger.warn({ ...log, err: error }, "the original image of a refused pull cannot be given back");
      await events.record(PODS, object, failedNote(refused, error));
      return;
    }
    remember(refused);
    counter.inc({ outcome: "restored" });
    logger.info({ ...log, message: refused.message.slice(0, MAX_MESSAGE) }, "pull refused, original image given back");
    await events.record(PODS, object, restoredNote(refused));
  }

  return async (key, signal) => {
    const pod = pods.get(key);
    let lookAgain: number | undefined;
    for (const refused of pod?.refused ?? []) {
      if (pod === undefined || done.has(keyOf(refused))) continue;
      const wait = patienceFor(pod, refused);
      if (wait === 0) await restore(pod, refused, signal);
      else lookAgain = Math.min(lookAgain ?? wait, wait);
    }
    return lookAgain === undefined ? DONE : { requeueAfter: lookAgain };
  };
}

function keyOf({ podUid, list, container }: RefusedPull): string {
  return `${podUid}/${list}/${container}`;
}

/** An admission plugin or a right that is missing: asking again every minute would not change it. */
function isFinal(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 400 || error.status === 403);
}

function restoredNote({ container, original, message }: RefusedPull): EventNote {
  const note =
    `The pull of ${original} through the cache was refused, so container ${container} has its original image again and ` +
    `the node pulls it directly: ${message.slice(0, MAX_MESSAGE)}`;
  return { type: "Warning", reason: "OriginalImageRestored", action: "RestoreImage", note };
}

function failedNote({ container, original }: RefusedPull, error: ApiError): EventNote {
  const note =
    `The pull of ${original} through the cache was refused, and container ${container} could not be given its original ` +
    `image: ${error.message.slice(0, MAX_MESSAGE)}`;
  return { type: "Warning", reason: "OriginalImageNotRestored", action: "RestoreImage", note };
}
