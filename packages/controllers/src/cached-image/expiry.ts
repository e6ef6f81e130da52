import { printDuration } from "@cache-registry/core/duration";
import { type Check, firstObjection, type Objection } from "@cache-registry/core/policy";
import type { Users } from "./usage.ts";

/** All that decides how long an image is kept. */
export type LifetimeSubject = {
  readonly now: Date;
  readonly users: Users;
  readonly retain: boolean;
  /** As recorded so far. */
  readonly unusedSince: Date | undefined;
  /** Milliseconds. */
  readonly expiryDelay: number;
};

export type KeepReason = "NamedByPods" | "NamedByOwners" | "Retained" | "RecentlyUsed";

export type Lifetime = {
  /** Why the image is kept; undefined: it has expired. */
  readonly keep: Objection<KeepReason> | undefined;
  readonly inUse: boolean;
  readonly unusedSince: Date | undefined;
  /** Undefined while it is used or retained. */
  readonly expiresAt: Date | undefined;
};

const namedByPods: Check<LifetimeSubject, KeepReason> = ({ users }) =>
  users.pods.length > 0 ? { reason: "NamedByPods", message: "Pods name the image." } : undefined;

const namedByOwners: Check<LifetimeSubject, KeepReason> = ({ users }) => {
  const [first, ...others] = users.owners;
  if (first === undefined) return undefined;
  const rest = others.length === 0 ? "" : ` and ${others.length} more`;
  return { reason: "NamedByOwners", message: `No pod names the image, but ${first}${rest} would start one that does.` };
};

const retained: Check<LifetimeSubject, KeepReason> = ({ retain }) =>
  retain ? { reason: "Retained", message: "Nothing names the image; it is kept because of spec.retain." } : undefined;

const recentlyUsed: Check<LifetimeSubject, KeepReason> = (subject) =>
  subject.now < expiryOf(subject)
    ? {
        reason: "RecentlyUsed",
        message: `Nothing names the image any more; it is kept for ${printDuration(subject.expiryDelay)} after its last use.`,
      }
    : undefined;

/** In this order: the first that objects is the reason that people see. */
const CHECKS = [namedByPods, namedByOwners, retained, recentlyUsed] as const;

function expiryOf({ now, unusedSince, expiryDelay }: LifetimeSubject): Date {
  return new Date((unusedSince ?? now).getTime() + expiryDelay);
}

export function lifetimeOf(subject: LifetimeSubject): Lifetime {
  const keep = firstObjection(CHECKS, subject);
  const inUse = subject.users.pods.length > 0 || subject.users.owners.length > 0;
  const unusedSince = inUse ? undefined : (subject.unusedSince ?? subject.now);
  const expires = !inUse && !subject.retain;
  return { keep, inUse, unusedSince, expiresAt: expires ? expiryOf(subject) : undefined };
}
