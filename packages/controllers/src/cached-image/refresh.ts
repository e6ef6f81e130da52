import type { RegistryImage } from "../registry/management-client.ts";

/** Milliseconds. */
export type RefreshTiming = {
  /** The upstream of a tag in use is asked whether it moved: at most that often, and never before `tagTtl` is over. */
  readonly refresh: number;
  /** The same for tags that the upstream could not confirm. */
  readonly refreshStale: number;
};

/** Refreshes per second, all together: HEAD requests mostly, but registries limit those too. */
const MAX_REFRESHES = 2;
/** What was asked together is not asked together again. */
const SPREAD = 0.3;

/**
 * Milliseconds until an image's tag is worth asking about; undefined: never, as the registry would not ask either (digests,
 * frozen tags, air gaps). `count`: images that are kept fresh, `now`: milliseconds since 1970, `random`: 0 to 1.
 */
export function refreshPause(
  { state, freshUntil }: RegistryImage,
  { timing, count, now, random }: { timing: RefreshTiming; count: number; now: number; random: number },
): number | undefined {
  if (!freshUntil) return undefined;
  const fresh = Date.parse(freshUntil) - now;
  const least = state === "stale" ? timing.refreshStale : timing.refresh;
  const pause = Math.max(Number.isFinite(fresh) ? fresh : 0, least, (count / MAX_REFRESHES) * 1_000);
  return pause * (1 + random * SPREAD);
}
