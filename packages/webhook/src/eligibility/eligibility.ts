import { toCacheReference } from "@cache-registry/core/cache-reference";
import { loopingOwnerKey } from "@cache-registry/core/cluster-state";
import { type ImageReference, parseImageReference } from "@cache-registry/core/image-reference";
import { MIRROR_POD_ANNOTATION, POLICY_LABEL } from "@cache-registry/core/labels";
import { type Check, firstObjection, type Objection } from "@cache-registry/core/policy";
import type { ClusterView } from "../cluster-state/cluster-view.ts";
import type { Pod } from "../pod.ts";
import type { EligibilityRules } from "./rules.ts";
import { isForWindows } from "./windows.ts";

/*
 * May this pod, this image, be rewritten? Three ordered lists of pure checks; the first that objects gives the reason.
 */

/** Why a pod gets no patch at all, not even an annotation. */
export type Exclusion = "opt-out" | "no-opt-in" | "mirror-pod" | "windows";

type ExclusionSubject = { readonly pod: Pod; readonly rules: EligibilityRules };

const EXCLUSIONS: readonly Check<ExclusionSubject, Exclusion>[] = [
  ({ pod: { metadata } }) =>
    metadata.labels?.[POLICY_LABEL] === "ignore"
      ? { reason: "opt-out", message: `the pod has the label ${POLICY_LABEL}: ignore` }
      : undefined,
  ({ pod: { metadata }, rules }) =>
    rules.optIn && metadata.labels?.[POLICY_LABEL] !== "cache"
      ? { reason: "no-opt-in", message: `the pod has no label ${POLICY_LABEL}: cache` }
      : undefined,
  ({ pod: { metadata } }) =>
    // The kubelet compares the mirror pod with its static pod: a change would make it recreate the mirror for ever.
    metadata.annotations?.[MIRROR_POD_ANNOTATION] !== undefined
      ? { reason: "mirror-pod", message: "the API copy of a static pod" }
      : undefined,
  ({ pod }) => (isForWindows(pod) ? { reason: "windows", message: "Windows nodes run no cache proxy" } : undefined),
];

export function exclusionOf(subject: ExclusionSubject): Objection<Exclusion> | undefined {
  return firstObjection(EXCLUSIONS, subject);
}

/** Why an image is left as written: the values of the skipped-images annotation. */
export const SKIP_REASONS = [
  "private",
  "never",
  "owner",
  "critical",
  "invalid",
  "too-long",
  "denied",
  "unhealthy",
  "loop",
  "dry-run",
] as const;
export type SkipReason = (typeof SKIP_REASONS)[number];

export type PodSubject = {
  readonly pod: Pod;
  /** Of the admission request. */
  readonly namespace: string;
  readonly rules: EligibilityRules;
  readonly cluster: ClusterView;
};

const CRITICAL_CLASSES = new Set(["system-node-critical", "system-cluster-critical"]);

function controllerOf(pod: Pod) {
  return pod.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

/** `apps/v1` `ReplicaSet` → `apps/ReplicaSet`; the core group is written `v1`. */
function controllerKindOf(pod: Pod): string {
  const controller = controllerOf(pod);
  return controller === undefined ? "none" : `${controller.apiVersion.split("/", 1)[0]}/${controller.kind}`;
}

/** Hold for all images of a pod. */
const POD_CHECKS: readonly Check<PodSubject, SkipReason>[] = [
  ({ pod }) =>
    // What the cluster needs to come up must not wait for the cache.
    CRITICAL_CLASSES.has(pod.spec.priorityClassName ?? "")
      ? { reason: "critical", message: `priority class ${pod.spec.priorityClassName}` }
      : undefined,
  ({ pod, rules }) => {
    // Operators that compare a pod's images with what they asked for would recreate it for ever.
    const kind = controllerKindOf(pod);
    return rules.owners.has(kind)
      ? undefined
      : { reason: "owner", message: `its controller is ${kind}, not in owners.allow` };
  },
  ({ pod: { metadata } }) => {
    const operator = comparingOperator(metadata.labels ?? {});
    return operator === undefined || metadata.labels?.[POLICY_LABEL] === "cache"
      ? undefined
      : {
          reason: "owner",
          message: `${operator} would restart it for its image; ${POLICY_LABEL}: cache says otherwise`,
        };
  },
];

/**
 * Operators whose pods belong to a built-in workload, and who compare them with it all the same, too seldom for what looks
 * for loops. Zalando's postgres-operator restarts every database at each sync, half an hour apart
 * (github.com/zalando/postgres-operator issue 2622; its setting enable_lazy_spilo_upgrade ends that).
 */
function comparingOperator(labels: Readonly<Record<string, string>>): string | undefined {
  return labels.application === "spilo" ? "Zalando's postgres-operator" : undefined;
}

export type ImageSubject = PodSubject & {
  readonly pullPolicy: string | undefined;
  readonly reference: ImageReference;
};

/** The registry must be able to tell from the path which upstream is meant, and to reach it from where it runs. */
function unreachable(registry: string, listed: ReadonlySet<string>): string | undefined {
  if (registry.startsWith("[")) return "an IPv6 literal cannot be written as a repository name";
  if (listed.has(registry)) return undefined;
  const host = registry.replace(/:\d+$/, "");
  if (host === "localhost" || /^127(?:\.\d+){3}$/.test(host)) return `${host} is another machine for the registry`;
  return host.includes(".") ? undefined : `${registry} has no dot and no upstream lists it`;
}

/** Is the pod's controller, or the pod of this name when it has none, one that keeps recreating what was rewritten? */
function isLooping({ pod, namespace, cluster }: PodSubject): boolean {
  const owner = controllerOf(pod) ?? { apiVersion: "v1", kind: "Pod", name: pod.metadata.name };
  return owner.name !== undefined && cluster.isLooping(loopingOwnerKey({ ...owner, name: owner.name, namespace }));
}

function hasPullSecrets(pod: Pod): boolean {
  return pod.spec.imagePullSecrets?.some(({ name }) => name !== undefined && name !== "") ?? false;
}

/** Hold for one image. */
const IMAGE_CHECKS: readonly Check<ImageSubject, SkipReason>[] = [
  ({ reference, rules }) => {
    const message = unreachable(reference.registry, rules.registries);
    return message === undefined ? undefined : { reason: "invalid", message };
  },
  ({ reference, rules }) =>
    rules.isDenied(reference) ? { reason: "denied", message: "matches images.deny" } : undefined,
  ({ reference, rules }) =>
    rules.isAllowed(reference) ? undefined : { reason: "denied", message: "matches nothing in images.allow" },
  ({ pullPolicy }) =>
    // The node holds the image under the name as written.
    pullPolicy === "Never" ? { reason: "never", message: "imagePullPolicy Never" } : undefined,
  ({ pod, namespace, reference, rules }) => {
    // The kubelet matches credentials by host, so a rewritten name carries none. The pod already has the pull secrets of
    // its ServiceAccount here: that admission plugin runs before the mutating webhooks.
    if (rules.isPublic(reference)) return undefined;
    if (hasPullSecrets(pod)) {
      return rules.sharedNamespaces.has(namespace)
        ? undefined
        : { reason: "private", message: "the pod has pull secrets" };
    }
    return rules.hasNodeCredentials(reference) && !rules.hasUpstreamCredentials(reference)
      ? { reason: "private", message: "matches images.nodeCredentials" }
      : undefined;
  },
  ({ reference, rules }) => {
    const cached = toCacheReference(reference, rules.endpoint);
    return "image" in cached ? undefined : { reason: cached.failure, message: "the name would be too long" };
  },
  // What passes by itself comes after what does not.
  ({ cluster }) => (cluster.unhealthy === undefined ? undefined : { reason: "unhealthy", message: cluster.unhealthy }),
  (subject) =>
    isLooping(subject)
      ? { reason: "loop", message: "its owner kept recreating pods whose images were rewritten" }
      : undefined,
  // The last, so that a dry run reports what would really be rewritten.
  ({ rules }) => (rules.dryRun ? { reason: "dry-run", message: "dryRun is set" } : undefined),
];

/** What hinders rewriting any image of the pod. */
export function podObjection(subject: PodSubject): Objection<SkipReason> | undefined {
  return firstObjection(POD_CHECKS, subject);
}

export type Eligibility = { readonly cached: string } | { readonly objection: Objection<SkipReason> };

/**
 * The image of Istio's gateways and customised sidecars as their charts write it. Its injector replaces just this text, and
 * takes anything else for the user's wish; webhooks are called in the order of their names, so it is called after us.
 */
const ISTIO_PLACEHOLDER = "auto";

/** The name under which an image is cached, or why it stays as it is. */
export function imageEligibility(
  image: string,
  subject: PodSubject & { readonly pullPolicy: string | undefined },
): Eligibility {
  if (image === ISTIO_PLACEHOLDER) {
    return {
      objection: { reason: "invalid", message: "Istio's injector, which may come later, puts its image there" },
    };
  }
  const reference = parseImageReference(image);
  if (reference === undefined) return { objection: { reason: "invalid", message: "not an image reference" } };
  const objection = firstObjection(IMAGE_CHECKS, { ...subject, reference });
  if (objection) return { objection };
  const cached = toCacheReference(reference, subject.rules.endpoint);
  return "image" in cached
    ? { cached: cached.image }
    : { objection: { reason: cached.failure, message: "no cached name" } };
}
