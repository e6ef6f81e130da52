import { createLimiter } from "@cache-registry/runtime/limiter";
import type { Link } from "./link.ts";

export type Writers = {
  /** Runs the task on a connection that it has for itself. */
  use<Result>(task: (link: Link) => Promise<Result>): Promise<Result>;
  /** Waits for what is running. */
  drain(): Promise<void>;
};

export function createWriters({ open, max }: { open: () => Promise<Link>; max: number }): Writers {
  const limiter = createLimiter(max);
  const running = new Set<Promise<unknown>>();
  const idle: Link[] = [];

  async function take(): Promise<Link> {
    for (let link = idle.pop(); link; link = idle.pop()) {
      if (!link.lost) return link;
    }
    return open();
  }

  async function withLink<Result>(task: (link: Link) => Promise<Result>): Promise<Result> {
    const link = await take();
    try {
      return await task(link);
    } finally {
      if (!link.lost) idle.push(link);
    }
  }

  return {
    use(task) {
      const call = limiter.run(() => withLink(task));
      running.add(call);
      const done = () => void running.delete(call);
      call.then(done, done);
      return call;
    },
    async drain() {
      await Promise.allSettled(running);
    },
  };
}
