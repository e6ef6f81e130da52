import { type LoopingOwner, loopingOwnerKey, MAX_LOOPS } from "@cache-registry/core/cluster-state";
import { forgetOldest } from "@cache-registry/runtime/forget-oldest";
import type { PodOwner } from "./pod-life.ts";

/** The owners that are left alone, each until its time. */
export interface LoopList {
  /** False: it is left alone already, and what came of that has not reached everybody yet. */
  add(owner: PodOwner, until: Date): boolean;
  /** What an earlier leader knew. */
  restore(owners: readonly LoopingOwner[]): void;
  /** Those whose time is not over; the others are forgotten. */
  active(now: Date): readonly LoopingOwner[];
}

export function createLoopList(): LoopList {
  const owners = new Map<string, LoopingOwner>();
  return {
    add({ namespace, apiVersion, kind, name }, until) {
      const owner = { namespace, apiVersion, kind, name, until };
      const key = loopingOwnerKey(owner);
      if (owners.has(key)) return false;
      owners.set(key, owner);
      forgetOldest(owners, MAX_LOOPS);
      return true;
    },
    restore(known) {
      for (const owner of known) if (!owners.has(loopingOwnerKey(owner))) owners.set(loopingOwnerKey(owner), owner);
    },
    active(now) {
      for (const [key, { until }] of owners) if (until <= now) owners.delete(key);
      return [...owners.values()];
    },
  };
}
