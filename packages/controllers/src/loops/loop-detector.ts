import { loopingOwnerKey } from "@cache-registry/core/cluster-state";
import type { Change } from "@cache-registry/kube/object-store";
import { forgetOldest } from "@cache-registry/runtime/forget-oldest";
import type { PodLife, PodOwner } from "./pod-life.ts";

/** Milliseconds. */
export type LoopRules = {
  /** So many times, one after the other. */
  readonly recreations: number;
  readonly within: number;
};

export interface LoopDetector {
  /** Every change of a pod, in the order of the watch. @returns the owner whose pods are in a loop since this change */
  see(change: Change<{ readonly life?: PodLife | undefined }>, now: number): PodOwner | undefined;
}

type Ending = { readonly pod: string; readonly template: string; readonly chain: Chain; readonly at: number };
/** The pods of one owner that are on their way out, or gone, and have no successor yet. */
type Track = (Ending & { gone?: number; readonly generation: number | undefined })[];
/** When the predecessors of a pod, each made in place of the one before, were made. */
type Chain = readonly number[];

/** A pod is made again at once, or for another reason: a workload that is scaled up again, the next test run. */
const MADE_AGAIN_WITHIN = 30_000;
/** Of what is kept at most; the oldest is forgotten first. Far more than loop at once, far less than a cluster has pods. */
const MAX_OWNERS = 2_000;
const MAX_PODS = 10_000;
const MAX_ENDINGS_PER_OWNER = 20;

/** Deleted later than this, a pod was no part of a loop: so many lives would not fit into the window. */
export function shortLifeOf({ recreations, within }: LoopRules): number {
  return (1.5 * within) / recreations;
}

/** Have so many pods, each in place of the one before, been made within the window? */
export function isLoop(chain: Chain, { recreations, within }: LoopRules): boolean {
  const first = chain.at(-recreations);
  const last = chain.at(-1);
  return chain.length >= recreations && first !== undefined && last !== undefined && last - first <= within;
}

/**
 * Finds owners that make their pods again and again because of the rewriting, as operators do that compare a pod's images
 * with what they wrote: a young rewritten pod is deleted, and at once there is another from the same template, which is
 * deleted as well, and so on. What is counted is the length of that chain, not how many pods come and go: a hundred
 * pods deleted together are a hundred chains of one. `generationOf`: the owner's metadata.generation where it is known;
 * it changes with the template and the number of replicas, and then a chain begins anew.
 */
export function createLoopDetector(
  rules: LoopRules,
  generationOf: (owner: PodOwner) => number | undefined,
): LoopDetector {
  const tracks = new Map<string, Track>();
  /** Of pods that were made in place of another: how it came to them. */
  const chains = new Map<string, Chain>();
  /** Pods on their way out → their owner. */
  const endings = new Map<string, string>();

  function end(pod: string, life: PodLife, now: number): void {
    const key = loopingOwnerKey(life.owner);
    const track = tracks.get(key) ?? [];
    const generation = generationOf(life.owner);
    track.push({ pod, template: life.template, chain: chains.get(pod) ?? [], at: now, generation });
    if (track.length > MAX_ENDINGS_PER_OWNER) track.shift();
    chains.delete(pod);
    tracks.delete(key); // to the end of the order of age
    tracks.set(key, track);
    endings.set(pod, key);
    forgetOldest(tracks, MAX_OWNERS);
    forgetOldest(endings, MAX_PODS);
  }

  function gone(pod: string, life: PodLife | undefined, now: number): void {
    const young = life !== undefined && now - life.created <= shortLifeOf(rules);
    if (!endings.has(pod) && young) end(pod, life, now); // deleted without a grace period
    const track = tracks.get(endings.get(pod) ?? "");
    const ending = track?.find((candidate) => candidate.pod === pod);
    if (ending) ending.gone = now;
    endings.delete(pod);
    chains.delete(pod);
  }

  function begin(pod: string, life: PodLife, now: number): PodOwner | undefined {
    const key = loopingOwnerKey(life.owner);
    const track = tracks.get(key);
    if (!track) return undefined;
    const fresh = track.filter(({ at, gone }) => now - (gone ?? at) <= (gone ? MADE_AGAIN_WITHIN : rules.within));
    const [predecessor] = fresh
      .filter(({ template }) => template === life.template)
      .toSorted((one, other) => other.chain.length - one.chain.length);
    track.splice(0, track.length, ...fresh.filter((ending) => ending !== predecessor));
    if (track.length === 0) tracks.delete(key);
    if (!predecessor || predecessor.generation !== generationOf(life.owner)) return undefined;
    const chain = [...predecessor.chain, now].slice(-rules.recreations);
    if (isLoop(chain, rules)) {
      tracks.delete(key);
      return life.owner;
    }
    chains.set(pod, chain);
    forgetOldest(chains, MAX_PODS);
    return undefined;
  }

  return {
    see({ type, key, object: { life } }, now) {
      if (type === "deleted") gone(key, life, now);
      else if (life?.ending && !endings.has(key)) end(key, life, now);
      else if (life && type === "added" && !life.ending) return begin(key, life, now);
      return undefined;
    },
  };
}
