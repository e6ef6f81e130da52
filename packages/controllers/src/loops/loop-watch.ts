import { printDuration } from "@cache-registry/core/duration";
import type { EventNote, EventRecorder } from "@cache-registry/kube/events";
import type { Informer } from "@cache-registry/kube/informer";
import type { KubeObject } from "@cache-registry/kube/object";
import { keyOf } from "@cache-registry/kube/object";
import { apiVersionOf, type Resource } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { Watches } from "../watches.ts";
import { createLoopDetector, type LoopRules } from "./loop-detector.ts";
import type { LoopList } from "./loop-list.ts";
import type { PodOwner } from "./pod-life.ts";

export type LoopWatchDeps = {
  readonly watches: Pick<Watches, "pods" | "owners">;
  /** `leaveAloneFor`: milliseconds. */
  readonly rules: LoopRules & { readonly leaveAloneFor: number };
  readonly list: LoopList;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

/** Connects the watch of pods with the detector: an owner that is found is put on the list, and told why. */
export function connectLoopWatch({ watches, rules, list, events, logger, metrics }: LoopWatchDeps): void {
  const detector = createLoopDetector(rules, (owner) => generationOf(watches.owners, owner));
  const found = metrics.counter({
    name: "loops_total",
    help: "Owners found to recreate their pods again and again because images were rewritten.",
  });

  watches.pods.onChange((change) => {
    const owner = detector.see(change, Date.now());
    if (!owner) return;
    const until = new Date(Date.now() + rules.leaveAloneFor);
    if (!list.add(owner, until)) return;
    found.inc();
    const { namespace, apiVersion, kind, name, uid } = owner;
    logger.warn({ namespace, apiVersion, kind, name, until }, "pods are recreated because of the rewriting");
    const object = { metadata: { namespace, name, ...(uid === undefined ? {} : { uid }) } };
    void events.record(resourceOf(owner), object, loopNote(owner, rules, until));
  });
}

/** Of the built-in kinds, which are watched. */
function generationOf(
  informers: readonly Informer<{ readonly generation?: number | undefined }>[],
  { apiVersion, kind, namespace, name }: PodOwner,
): number | undefined {
  const informer = informers.find(({ resource }) => resource.kind === kind && apiVersionOf(resource) === apiVersion);
  return informer?.get(keyOf({ metadata: { namespace, name } }))?.generation;
}

/** For an Event, which names a kind and never the path of its collection. */
function resourceOf({ apiVersion, kind }: PodOwner): Resource<KubeObject> {
  const slash = apiVersion.indexOf("/");
  const [group, version] = [apiVersion.slice(0, Math.max(0, slash)), apiVersion.slice(slash + 1)];
  return { group, version, kind, plural: "", namespaced: true };
}

function loopNote({ kind, name }: PodOwner, { recreations, within }: LoopRules, until: Date): EventNote {
  const whose = kind === "Pod" ? `Pod ${name} was` : `Pods of ${kind} ${name} were`;
  const note =
    `${whose} deleted and made again ${recreations} times within ${printDuration(within)}, as happens when somebody compares ` +
    "their images with what it wrote: rewritten names differ. Until " +
    `${until.toISOString()} new pods keep their images as written.`;
  return { type: "Warning", reason: "RewritingLoop", action: "LeaveAlone", note };
}
