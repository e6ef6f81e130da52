export interface Pacer {
  /** Waits until so many bytes may pass. */
  take(bytes: number): Promise<void>;
  /** Bytes per second for everybody together; undefined: no limit. */
  readonly limit: (bytesPerSecond: number | undefined) => void;
}

/** How far the schedule may lag behind the clock, so that an idle time gives no burst. */
const SLACK_MS = 20;

/** One schedule shared by all streams: every take moves the time at which the next may pass. */
export function createPacer(): Pacer {
  let rate: number | undefined;
  let next = 0;
  return {
    async take(bytes) {
      if (rate === undefined) return;
      const now = performance.now();
      next = Math.max(next, now - SLACK_MS) + (bytes / rate) * 1000;
      // Timers are coarse: short waits are left to add up.
      if (next - now > 4) await new Promise((resolve) => setTimeout(resolve, next - now));
    },
    limit(bytesPerSecond) {
      rate = bytesPerSecond;
      next = 0;
    },
  };
}
