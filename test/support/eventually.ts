import { setTimeout as sleep } from "node:timers/promises";

/**
 * Tries again until the body no longer throws. The patience is for busy machines: how soon something has to be is for the
 * test to measure. @throws its last error after `timeout` milliseconds
 */
export async function eventually<Value>(body: () => Value | Promise<Value>, timeout = 40_000): Promise<Value> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const begun = Date.now();
    try {
      return await body();
    } catch (error) {
      // A try that took long itself, because the machine stalled, is not the last one.
      if (begun > deadline) throw error;
      await sleep(50);
    }
  }
}
