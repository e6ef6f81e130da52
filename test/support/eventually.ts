import { setTimeout as sleep } from "node:timers/promises";

/** Tries again until the body no longer throws. @throws its last error after `timeout` milliseconds */
export async function eventually<Value>(body: () => Value | Promise<Value>, timeout = 15_000): Promise<Value> {
  const deadline = Date.now() + timeout;
  for (;;) {
    try {
      return await body();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
