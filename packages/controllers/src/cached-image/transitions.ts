import type { CachedImageStatus } from "@cache-registry/kube/cached-image";
import { findCondition } from "@cache-registry/kube/conditions";
import type { EventNote } from "@cache-registry/kube/events";
import { NO_SPACE, READY, WARM_UP_FAILED } from "./status.ts";

/** The Events that a change of status is worth. Pure; most changes are worth none. */
export function transitionNotes(before: CachedImageStatus | undefined, after: CachedImageStatus): EventNote[] {
  const notes: EventNote[] = [];
  const was = findCondition(before?.conditions, READY);
  const is = findCondition(after.conditions, READY);
  // Unknown → True is a registry that came back, not a warm-up.
  if (is?.status === "True" && was?.status !== "True" && was?.reason !== "RegistryUnreachable") {
    notes.push({ type: "Normal", reason: "Warmed", action: "WarmUp", note: is.message });
  }
  if ((is?.reason === WARM_UP_FAILED || is?.reason === NO_SPACE) && was?.reason !== is.reason) {
    notes.push({ type: "Warning", reason: is.reason, action: "WarmUp", note: is.message });
  }
  if (before?.digest !== undefined && after.digest !== undefined && before.digest !== after.digest) {
    const note = `The upstream's tag moved from ${before.digest} to ${after.digest}.`;
    notes.push({ type: "Normal", reason: "TagMoved", action: "Refresh", note });
  }
  if (after.expiresAt !== undefined && before?.expiresAt === undefined) {
    const note = `Nothing names the image any more; it will be deleted at ${after.expiresAt}.`;
    notes.push({ type: "Normal", reason: "Expiring", action: "Expire", note });
  }
  return notes;
}

export function expiredNote(): EventNote {
  const note = "Nothing named the image for as long as unused images are kept; it was deleted.";
  return { type: "Normal", reason: "Expired", action: "Expire", note };
}
