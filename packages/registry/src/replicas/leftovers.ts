import { messageOf } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { type Leases, REPLICAS } from "./leases.ts";

/** How often, and how many times, it is looked who lives, before anybody counts as gone: a lease is renewed every 1.5 s. Milliseconds. */
const LOOK_EVERY_MS = 2_000;
const LOOKS = 10;

export type LeftoverDeps = {
  readonly leases: Pick<Leases, "list">;
  readonly blobs: Pick<BlobStore, "removeLeftovers">;
  readonly logger: Logger;
  /** Shorter for tests. */
  readonly lookEvery?: number;
};

/**
 * Removes what replicas that are gone left in a file system that all share. One without a lease need not be gone: after an
 * outage of the database nobody has one, and those that live get theirs again one after the other. So whoever was seen once
 * lives, and looks that fail do not count. Takes half a minute. @throws the signal's reason
 */
export async function removeLeftovers(deps: LeftoverDeps, signal: AbortSignal): Promise<void> {
  const { leases, blobs, logger, lookEvery = LOOK_EVERY_MS } = deps;

  async function alive(): Promise<ReadonlySet<string>> {
    const seen = new Set<string>();
    for (let looks = 0; looks < LOOKS; ) {
      await sleep(lookEvery, signal);
      try {
        for (const { holder } of await leases.list(REPLICAS)) seen.add(holder);
        looks += 1;
      } catch (error) {
        logger.debug({ reason: messageOf(error) }, "nobody can say which replicas live");
      }
    }
    return seen;
  }

  const removed = (await blobs.removeLeftovers?.(alive)) ?? 0;
  if (removed > 0) logger.info({ removed }, "removed what replicas that are gone left behind");
}
