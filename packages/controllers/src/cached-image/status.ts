import type { CachedImage, CachedImageStatus, Phase } from "@cache-registry/kube/cached-image";
import { MAX_LISTED_PODS } from "@cache-registry/kube/cached-image";
import { type ConditionUpdate, findCondition, setCondition } from "@cache-registry/kube/conditions";
import { PULL_SECRETS } from "../pull-secrets/pull-secrets.ts";
import type { RegistryImage } from "../registry/management-client.ts";
import type { Lifetime } from "./expiry.ts";
import type { Observation } from "./prewarm.ts";
import type { Users } from "./usage.ts";

export const READY = "Ready";
export const IN_USE = "InUse";

/** Why an image is not here although it was asked for: reasons of the condition `Ready`, and of Events. */
export const WARM_UP_FAILED = "WarmUpFailed";
export const NO_SPACE = "NoSpace";

export type StatusSubject = {
  readonly now: Date;
  readonly current: CachedImageStatus | undefined;
  readonly users: Users;
  readonly lifetime: Lifetime;
  /** Undefined: `spec.sourceImage` is no valid reference. */
  readonly observation: Observation | undefined;
  /** The registry cannot be reached. */
  /** What became of the image's pull secrets; `none`: it needs none, undefined: nothing new. */
  readonly pullSecrets?: ConditionUpdate | "none" | undefined;
  readonly down: { readonly since: Date; readonly message: string } | undefined;
};

/** A restart of the registry is no news; longer than this is. Milliseconds. */
const DOWN_FOR_LONG = 60_000;
const MAX_ERROR = 500;

const PHASES: Record<RegistryImage["state"], Phase> = {
  pending: "Pending",
  pulling: "Pulling",
  ready: "Ready",
  stale: "Stale",
  failed: "Failed",
};

/** The status that the object should have. Pure. */
export function statusOf(subject: StatusSubject): CachedImageStatus {
  const { current, users, lifetime, observation } = subject;
  const image = observation?.kind === "known" ? observation.image : undefined;
  return {
    phase: phaseOf(subject),
    // What is not known right now stays as it was: a registry that restarts has not forgotten its store.
    digest: image ? (image.digest ?? undefined) : current?.digest,
    upstreamDigest: image ? upstreamDigestOf(image, current) : current?.upstreamDigest,
    size: image ? integer(image.size) : current?.size,
    progress: image ? progressOf(image) : current?.progress,
    usedBy: {
      count: users.pods.length,
      ...(users.pods.length === 0 ? {} : { pods: users.pods.slice(0, MAX_LISTED_PODS) }),
    },
    unusedSince: timestamp(lifetime.unusedSince),
    expiresAt: timestamp(lifetime.expiresAt),
    conditions: conditionsOf(subject),
  };
}

function conditionsOf(subject: StatusSubject): CachedImageStatus["conditions"] {
  const { now, current, lifetime, pullSecrets } = subject;
  const before =
    pullSecrets === "none" ? current?.conditions?.filter(({ type }) => type !== PULL_SECRETS) : current?.conditions;
  const secrets = pullSecrets === "none" ? undefined : pullSecrets;
  return [readyCondition(subject), inUseCondition(lifetime), secrets].reduce<CachedImageStatus["conditions"]>(
    (list, update) => (update ? setCondition(list, update, now) : list),
    before,
  );
}

/**
 * A failed image that is tried again, and has not come further, is still a failed image: neither a write nor an Event for
 * each try.
 */
function isSameFailure({ current, observation }: StatusSubject): boolean {
  if (current?.phase !== "Failed" || observation?.kind !== "known") return false;
  const { reason } = findCondition(current.conditions, READY) ?? {};
  if (reason !== WARM_UP_FAILED && reason !== NO_SPACE) return false;
  const { image } = observation;
  return (
    (image.state === "pending" || image.state === "pulling") &&
    (integer(image.progress) ?? 0) <= (current.progress ?? 0)
  );
}

/** A tag that the upstream confirmed has its digest; stale is what it could not, or would not, confirm. */
function upstreamDigestOf(image: RegistryImage, current: CachedImageStatus | undefined): string | undefined {
  const confirmed = image.state !== "stale" && image.checkedAt ? image.digest : undefined;
  return confirmed ?? current?.upstreamDigest;
}

function phaseOf(subject: StatusSubject): Phase {
  const { current, lifetime, observation } = subject;
  if (lifetime.expiresAt !== undefined) return "Expiring";
  if (isSameFailure(subject)) return "Failed";
  if (observation === undefined) return "Failed";
  if (observation.kind === "known") return PHASES[observation.image.state];
  const before = current?.phase;
  // Expiring hid what it was; the Ready condition remembers.
  if (before !== undefined && before !== "Expiring") return before;
  return findCondition(current?.conditions, READY)?.status === "True" ? "Ready" : "Pending";
}

function readyCondition(subject: StatusSubject): ConditionUpdate | undefined {
  const { now, current, observation, down } = subject;
  const type = READY;
  if (isSameFailure(subject)) return undefined;
  if (observation === undefined) {
    const message = "spec.sourceImage is no valid image reference.";
    return { type, status: "False", reason: "InvalidReference", message };
  }
  if (observation.kind === "known") return { type, ...readiness(observation.image) };
  const long = down !== undefined && now.getTime() - down.since.getTime() >= DOWN_FOR_LONG;
  if (!long && findCondition(current?.conditions, type)) return undefined;
  // No details: they change from try to try, and each change would be a write.
  const message =
    "The registry cannot be reached, so nobody knows; pulls go through the proxy to the upstream meanwhile.";
  return { type, status: "Unknown", reason: "RegistryUnreachable", message };
}

function readiness(image: RegistryImage): Omit<ConditionUpdate, "type"> {
  switch (image.state) {
    case "ready":
      return {
        status: "True",
        reason: "Cached",
        message: "The image is in the cache: pods start without its upstream.",
      };
    case "stale":
      return {
        status: "True",
        reason: "Stale",
        message: `The image is in the cache, but the upstream could not confirm that it is the newest${because(image)}.`,
      };
    case "failed":
      if (image.reason === NO_SPACE) {
        return {
          status: "False",
          reason: NO_SPACE,
          message: `The cache is full of pinned images, or its disk is full: raise storage.maxSize or enlarge the volume, or unpin by deleting CachedImages that nothing uses any more${inBrackets(image)}. It is tried again.`,
        };
      }
      return {
        status: "False",
        reason: WARM_UP_FAILED,
        message: `The image could not be fetched${because(image)}. It is tried again.`,
      };
    case "pulling":
      return { status: "False", reason: "Pulling", message: "The image is being fetched." };
    case "pending":
      return { status: "False", reason: "Pending", message: "The image waits to be fetched." };
  }
}

function because({ error }: RegistryImage): string {
  return error ? `: ${error.slice(0, MAX_ERROR)}` : "";
}

function inBrackets({ error }: RegistryImage): string {
  return error ? ` (${error.slice(0, MAX_ERROR)})` : "";
}

function inUseCondition({ keep, inUse }: Lifetime): ConditionUpdate {
  const { reason, message } = keep ?? { reason: "Expired", message: "Nothing has named the image for too long." };
  return { type: IN_USE, status: inUse ? "True" : "False", reason, message };
}

function progressOf(image: RegistryImage): number | undefined {
  if (image.state === "ready" || image.state === "stale") return 100;
  const percent = integer(image.progress);
  return percent === undefined ? undefined : Math.min(100, percent);
}

function integer(value: number | null | undefined): number | undefined {
  return value === null || value === undefined || !Number.isFinite(value) ? undefined : Math.max(0, Math.floor(value));
}

/** Whole seconds, as Kubernetes prints times. */
function timestamp(date: Date | undefined): string | undefined {
  return date?.toISOString().replace(/\.\d+Z$/, "Z");
}

/** A change that people or programs act on, as opposed to numbers on their way. */
export function isTransition(before: CachedImageStatus | undefined, after: CachedImageStatus): boolean {
  const essence = (status: CachedImageStatus | undefined): string =>
    JSON.stringify([
      status?.phase,
      status?.digest,
      status?.upstreamDigest,
      status?.unusedSince,
      status?.expiresAt,
      (status?.usedBy?.count ?? 0) > 0,
      status?.conditions?.map(({ type, status: value, reason }) => [type, value, reason]),
    ]);
  return essence(before) !== essence(after);
}

const WRITE_INTERVAL = 5_000;
const PROGRESS_STEP = 10;

/** Milliseconds to wait before the change may be written: transitions at once, numbers every 5 s or 10 percent. */
export function writeDelay(before: CachedImage["status"], after: CachedImageStatus, sinceLastWrite: number): number {
  if (isTransition(before, after)) return 0;
  if (Math.abs((after.progress ?? 0) - (before?.progress ?? 0)) >= PROGRESS_STEP) return 0;
  return Math.max(0, WRITE_INTERVAL - sinceLastWrite);
}
