import { sleep } from "@cache-registry/runtime/backoff";

/** Tell it of the bytes that were read; it resolves when the next may be. */
export type Pace = (bytes: number, signal?: AbortSignal) => Promise<void>;

/** Pauses shorter than this cost more than they are worth. Milliseconds. */
const MIN_PAUSE_MS = 20;

/** So many bytes per second on average since it was made. A pause, however long, is not made up for. */
export function createPace(bytesPerSecond: number, now: () => number = () => performance.now()): Pace {
  let earliest = now();
  return async (bytes, signal) => {
    earliest = Math.max(earliest, now() - MIN_PAUSE_MS) + (bytes / bytesPerSecond) * 1_000;
    const pause = earliest - now();
    if (pause >= MIN_PAUSE_MS) await sleep(pause, signal);
  };
}
