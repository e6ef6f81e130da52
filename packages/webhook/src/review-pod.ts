import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { type AdmissionAnswer, type AdmissionRequest, allow, allowWith } from "./admission-review.ts";
import type { ClusterView } from "./cluster-state/cluster-view.ts";
import { exclusionOf } from "./eligibility/eligibility.ts";
import type { EligibilityRules } from "./eligibility/rules.ts";
import type { ImageVerdict } from "./mutation/image-verdict.ts";
import { mutatePod, withManagedLabel } from "./mutation/mutate-pod.ts";
import { type JsonPatch, patchOf } from "./mutation/patch.ts";
import type { MutationScope } from "./mutation/pod-images.ts";
import { Pod } from "./pod.ts";

/** `ignored`: not a request we patch; `excluded`: opt-out, no opt-in, mirror pod or Windows; `failed`: left alone after an error. */
export type ReviewOutcome = "patched" | "unchanged" | "excluded" | "ignored" | "failed";

type Review = {
  readonly outcome: ReviewOutcome;
  readonly patch: JsonPatch;
  readonly verdicts: readonly ImageVerdict[];
  /** Why a pod was excluded, or what failed. */
  readonly why?: string;
};

export type ReviewerDeps = {
  readonly mode: "rewrite" | "mirror";
  readonly rules: EligibilityRules;
  /** The cluster as it is known at the moment of a review. */
  readonly cluster: () => ClusterView;
  /** One line per review; failures are always logged. */
  readonly logReviews: boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

/** Reviews never throw and never refuse: what is unexpected leaves the pod as it is, logged and counted. */
export type Reviewer = (request: AdmissionRequest) => AdmissionAnswer;

/** Nothing here does I/O: a review takes as long as walking the pod. */
export function createReviewer(deps: ReviewerDeps): Reviewer {
  const record = createRecorder(deps);
  return (request) => {
    const start = performance.now();
    let review: Review;
    try {
      review = reviewRequest(request, deps);
    } catch (err) {
      review = { outcome: "failed", patch: [], verdicts: [], why: "unexpected error" };
      deps.logger.error({ err, uid: request.uid }, "review failed");
    }
    record(request, review, (performance.now() - start) / 1000);
    return review.patch.length === 0 ? allow(request.uid) : allowWith(request.uid, review.patch);
  };
}

/** Only new pods and new ephemeral containers: everything else of a pod's images cannot be changed, or is not ours. */
function scopeOf({ operation, resource, subResource }: AdmissionRequest): MutationScope | undefined {
  if (resource.group !== "" || resource.resource !== "pods") return undefined;
  if (operation === "CREATE" && subResource === "") return "pod";
  if (operation === "UPDATE" && subResource === "ephemeralcontainers") return "ephemeralContainers";
  return undefined;
}

function reviewRequest(request: AdmissionRequest, { mode, rules, cluster }: ReviewerDeps): Review {
  const nothing = { patch: [], verdicts: [] };
  const scope = scopeOf(request);
  if (scope === undefined) return { outcome: "ignored", ...nothing };
  const parsed = Pod.safeParse(request.object);
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join(".") || "object";
    return { outcome: "failed", ...nothing, why: `not the shape of a pod: ${where}` };
  }
  const pod = parsed.data;
  const exclusion = exclusionOf({ pod, rules });
  if (exclusion) return { outcome: "excluded", ...nothing, why: exclusion.reason };
  if (mode === "mirror") {
    const labelled = scope === "pod" && !rules.dryRun ? withManagedLabel(pod) : pod;
    return finish(patchOf(pod, labelled), []);
  }
  const previous = scope === "ephemeralContainers" ? Pod.safeParse(request.oldObject) : undefined;
  if (previous?.success === false) return { outcome: "failed", ...nothing, why: "update without the old pod" };
  const mutation = mutatePod({
    pod,
    namespace: request.namespace,
    scope,
    rules,
    cluster: cluster(),
    ...(previous ? { previous: previous.data } : {}),
  });
  return finish(patchOf(pod, mutation.pod), mutation.verdicts);
}

function finish(patch: JsonPatch, verdicts: readonly ImageVerdict[]): Review {
  return { outcome: patch.length > 0 ? "patched" : "unchanged", patch, verdicts };
}

function createRecorder({ logReviews, logger, metrics }: ReviewerDeps) {
  const reviews = metrics.counter({
    name: "webhook_reviews_total",
    help: "Admission reviews by outcome: patched, unchanged, excluded, ignored, failed",
    labels: ["outcome"],
  });
  const images = metrics.counter({
    name: "webhook_images_total",
    help: "Images of reviewed pods by result (rewritten, cached, skipped) and, when skipped, the reason",
    labels: ["result", "reason"],
  });
  const duration = metrics.histogram({
    name: "webhook_review_duration_seconds",
    help: "Time to review one pod, without reading the request",
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
  });

  return (request: AdmissionRequest, review: Review, seconds: number): void => {
    reviews.inc({ outcome: review.outcome });
    duration.observe(seconds);
    for (const verdict of review.verdicts) {
      images.inc({ result: verdict.result, reason: verdict.result === "skipped" ? verdict.reason : "" });
    }
    if (review.outcome === "failed") logger.warn(describe(request, review), "pod reviewed");
    else if (logReviews) logger.info(describe(request, review), "pod reviewed");
  };
}

/** Whoever may create a pod may write megabytes into it, and be refused only afterwards. */
const MAX_LOGGED_IMAGES = 20;
const MAX_LOGGED_LENGTH = 300;

/** The fields of the log line. Values that users control stay values: the message is constant. */
function describe(request: AdmissionRequest, { outcome, verdicts, why }: Review): Record<string, unknown> {
  const metadata = Pod.shape.metadata.safeParse(
    (request.object as { metadata?: unknown } | null | undefined)?.metadata,
  );
  const skipped = verdicts.flatMap((verdict) =>
    verdict.result === "skipped"
      ? [{ container: cut(verdict.key), image: cut(verdict.image), reason: verdict.reason, why: cut(verdict.message) }]
      : [],
  );
  return {
    outcome,
    namespace: request.namespace,
    name: cut(request.name || metadata.data?.name),
    generateName: cut(metadata.data?.generateName),
    operation: request.operation,
    resource: [request.resource.resource, request.subResource].filter(Boolean).join("/"),
    rewritten: verdicts.filter((verdict) => verdict.result === "rewritten").length,
    ...(skipped.length > 0 ? { skipped: skipped.slice(0, MAX_LOGGED_IMAGES) } : {}),
    ...(skipped.length > MAX_LOGGED_IMAGES ? { skippedInAll: skipped.length } : {}),
    ...(why === undefined ? {} : { why }),
  };
}

function cut(text: string | undefined): string | undefined {
  return text?.slice(0, MAX_LOGGED_LENGTH);
}
