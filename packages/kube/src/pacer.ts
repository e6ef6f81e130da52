import { sleep } from "@cache-registry/runtime/backoff";

export interface Pacer {
  /** Resolves when the caller may go on, in the order of asking. */
  take(signal?: AbortSignal): Promise<void>;
}

/** A token bucket without a queue: each caller reserves the next free moment and sleeps until then. */
export function createPacer(options: { perSecond: number; burst: number; now?: () => number }): Pacer {
  const { perSecond, burst, now = () => performance.now() } = options;
  const interval = 1_000 / perSecond;
  const credit = interval * burst;
  let next = now() - credit;
  return {
    async take(signal) {
      const moment = now();
      next = Math.max(next, moment - credit) + interval;
      if (next > moment) await sleep(next - moment, signal);
    },
  };
}
