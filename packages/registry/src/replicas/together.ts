import { sleep } from "@cache-registry/runtime/backoff";
import type { Leases } from "./leases.ts";

/** An upstream that takes longer is asked by others too. Milliseconds. */
const PATIENCE_MS = 5_000;
const PAUSE_MS = 50;

export type SharedTask<Value> = {
  /** What the work would bring, if another replica has brought it by now. */
  readonly there: () => Promise<Value | undefined>;
  readonly work: () => Promise<Value>;
};

/** Small work that one of many replicas does for all, unless it takes too long or fails: then each does it for itself. */
export type Together = <Value>(key: string, task: SharedTask<Value>) => Promise<Value>;

export function createTogether(leases: Pick<Leases, "acquire" | "lookup">): Together {
  return async (key, { there, work }) => {
    const name = `once/${key}`;
    const answer = await leases.acquire(name).catch(() => undefined);
    if (!answer) return work();
    if ("held" in answer) {
      try {
        return (await there()) ?? (await work());
      } finally {
        await answer.held.release();
      }
    }
    for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline; await sleep(PAUSE_MS)) {
      // Asked in this order, an end in between is seen.
      const working = (await leases.lookup(name).catch(() => undefined)) !== undefined;
      const value = await there();
      if (value !== undefined) return value;
      if (!working) break;
    }
    return work();
  };
}
