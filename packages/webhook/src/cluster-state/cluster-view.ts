import { type ClusterState, loopingOwnerKey } from "@cache-registry/core/cluster-state";

/** What a review must know of the cluster, at its moment. */
export type ClusterView = {
  /** Why no image may be rewritten now, or undefined. */
  readonly unhealthy: string | undefined;
  /** Is this owner (`loopingOwnerKey`) left alone now? */
  readonly isLooping: (owner: string) => boolean;
};

/** Without a file from the controllers there is no gate. */
export const UNGATED: ClusterView = { unhealthy: undefined, isLooping: () => false };

/** `now` is asked at each look at an owner: it may be rewritten again once its time is over, whoever still names it. */
export function viewOf(state: ClusterState, now: () => number): ClusterView {
  const untils = new Map(state.loops.map((owner) => [loopingOwnerKey(owner), owner.until.getTime()]));
  return {
    unhealthy: state.healthy ? undefined : state.reasons.join("; ") || "the controllers say so",
    isLooping: (owner) => now() < (untils.get(owner) ?? 0),
  };
}

export function closedView(why: string): ClusterView {
  return { unhealthy: why, isLooping: () => false };
}
