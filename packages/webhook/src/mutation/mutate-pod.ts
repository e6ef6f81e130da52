import { isCached } from "@cache-registry/core/cache-reference";
import { MANAGED_LABEL } from "@cache-registry/core/labels";
import type { ClusterView } from "../cluster-state/cluster-view.ts";
import { imageEligibility, podObjection } from "../eligibility/eligibility.ts";
import type { EligibilityRules } from "../eligibility/rules.ts";
import type { Pod } from "../pod.ts";
import { annotate } from "./annotations.ts";
import type { ImageVerdict } from "./image-verdict.ts";
import { type ImageSlot, type MutationScope, replaceImages } from "./pod-images.ts";

export type MutationInput = {
  readonly pod: Pod;
  /** Of the admission request. */
  readonly namespace: string;
  readonly scope: MutationScope;
  /** The pod before an update. Its ephemeral containers cannot be changed: touching them would fail the update. */
  readonly previous?: Pod;
  readonly rules: EligibilityRules;
  readonly cluster: ClusterView;
};

export type Mutation = { readonly pod: Pod; readonly verdicts: readonly ImageVerdict[] };

/**
 * The pod with its images named below the endpoint, the label and the annotations. Pure and idempotent: mutating the
 * result again gives the same pod. Parts that do not change are shared with the input.
 */
export function mutatePod(input: MutationInput): Mutation {
  const { pod, scope } = input;
  const verdicts: ImageVerdict[] = [];
  const judge = createJudge(input);
  const untouchable = imagesBefore(input);
  const spec = replaceImages(pod.spec, scope, (slot) => {
    if (untouchable.get(slot.key) === slot.image) return slot.image;
    const verdict = judge(slot);
    verdicts.push(verdict);
    return verdict.result === "rewritten" ? verdict.cached : slot.image;
  });
  if (scope === "ephemeralContainers") return { pod: spec === pod.spec ? pod : { ...pod, spec }, verdicts };

  const annotations = annotate(pod.metadata.annotations, verdicts);
  const rewritten = verdicts.some((verdict) => verdict.result === "rewritten");
  const labelled = rewritten ? withManagedLabel(pod) : pod;
  if (labelled === pod && spec === pod.spec && annotations === pod.metadata.annotations) return { pod, verdicts };
  const metadata =
    annotations === pod.metadata.annotations
      ? labelled.metadata
      : { ...labelled.metadata, annotations: annotations ? { ...annotations } : annotations };
  return { pod: { ...labelled, metadata, spec }, verdicts };
}

/** The pod with `managed: "true"`; the same pod when it has it. */
export function withManagedLabel(pod: Pod): Pod {
  const { metadata } = pod;
  if (metadata.labels?.[MANAGED_LABEL] === "true") return pod;
  return { ...pod, metadata: { ...metadata, labels: { ...metadata.labels, [MANAGED_LABEL]: "true" } } };
}

function createJudge({ pod, namespace, rules, cluster }: MutationInput): (slot: ImageSlot) => ImageVerdict {
  const subject = { pod, namespace, rules, cluster };
  const hindrance = podObjection(subject);
  return ({ key, image, pullPolicy }) => {
    if (isCached(image, rules.endpoint)) return { key, image, result: "cached" };
    if (hindrance) return { key, image, result: "skipped", ...hindrance };
    const eligibility = imageEligibility(image, { ...subject, pullPolicy });
    return "cached" in eligibility
      ? { key, image, result: "rewritten", cached: eligibility.cached }
      : { key, image, result: "skipped", ...eligibility.objection };
  };
}

/** Ephemeral containers by name, as they were before the update. */
function imagesBefore({ scope, previous }: MutationInput): ReadonlyMap<string, string | undefined> {
  if (scope === "pod") return new Map();
  return new Map(previous?.spec.ephemeralContainers?.map(({ name, image }) => [name, image]));
}
