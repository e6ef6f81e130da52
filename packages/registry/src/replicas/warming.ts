import type { Leases } from "./leases.ts";

/** What replicas tell each other of warm-ups: that one is under way. Each may warm the same image; its blobs come once. */
export type Warming = {
  /** This replica warms the image now. Call the result when it has ended. */
  begin(key: string): Promise<() => Promise<void>>;
  /** Some replica warms it now. A store that is away knows of none. */
  isRunning(key: string): Promise<boolean>;
};

export function createWarming(leases: Pick<Leases, "acquire" | "lookup">): Warming {
  const nameOf = (key: string): string => `warm/${key}`;
  return {
    async begin(key) {
      const answer = await leases.acquire(nameOf(key)).catch(() => undefined);
      return async () => {
        if (answer && "held" in answer) await answer.held.release();
      };
    },
    async isRunning(key) {
      return (await leases.lookup(nameOf(key)).catch(() => undefined)) !== undefined;
    },
  };
}
