import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { HeldLease, Leases } from "./leases.ts";

const RETRY_MS = 1_000;

/** Which replica does what one of them has to do. Two may for a moment: nothing here may be wrong when done twice. */
export type Leadership = {
  /** Does this replica lead now? */
  readonly leads: () => boolean;
  start(): void;
  stop(): Promise<void>;
};

/** For one replica. */
export const ALONE: Leadership = { leads: () => true, start: () => undefined, stop: async () => undefined };

export function createLeadership(deps: {
  readonly leases: Leases;
  readonly logger: Logger;
  /** When this replica becomes the leader. May take long; ends when the signal aborts. */
  readonly onElected: (signal: AbortSignal) => Promise<void>;
  /** Milliseconds, shorter for tests. */
  readonly retryEvery?: number;
}): Leadership {
  const { leases, logger, onElected, retryEvery = RETRY_MS } = deps;
  const stopping = new AbortController();
  let held: HeldLease | undefined;
  let loop: Promise<void> = Promise.resolve();
  let following: Promise<unknown> = Promise.resolve();

  async function campaign(): Promise<void> {
    if (held && !held.lost) return;
    if (held) logger.warn("this replica leads no more");
    held = undefined;
    const answer = await leases.acquire("leader");
    if (!("held" in answer)) return;
    held = answer.held;
    logger.info("this replica leads: it collects what nobody needs");
    const began = onElected(stopping.signal).catch((err: unknown) => {
      if (!stopping.signal.aborted) logger.warn({ err }, "what a new leader does failed");
    });
    following = Promise.all([following, began]);
  }

  return {
    leads: () => held !== undefined && !held.lost,
    start() {
      loop = (async () => {
        while (!stopping.signal.aborted) {
          await campaign().catch((err: unknown) => logger.debug({ err }, "nobody could be elected"));
          await sleep(retryEvery, stopping.signal).catch(() => undefined);
        }
      })();
    },
    async stop() {
      stopping.abort();
      await loop;
      await following;
      await held?.release();
    },
  };
}
