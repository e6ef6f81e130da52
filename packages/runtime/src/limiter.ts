import { createWaitQueue, type WaitOptions } from "./wait-queue.ts";

export type { Priority } from "./wait-queue.ts";

export type Limiter = {
  /** Waits for a slot; the result gives it back and may be called more than once. @throws the signal's reason */
  acquire(options?: WaitOptions): Promise<() => void>;
  /** Holds a slot while the task runs. */
  run<Value>(task: () => Promise<Value>, options?: WaitOptions): Promise<Value>;
  readonly active: number;
  readonly waiting: number;
};

export function createLimiter(concurrency: number): Limiter {
  if (!Number.isInteger(concurrency) || concurrency < 1) throw new RangeError("concurrency must be a positive integer");
  const queue = createWaitQueue<() => void>();
  let active = 0;

  function createRelease(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      // The slot passes directly to the next in line, so that no newcomer can overtake it.
      if (!queue.admit(createRelease)) active -= 1;
    };
  }

  async function acquire(options: WaitOptions = {}): Promise<() => void> {
    options.signal?.throwIfAborted();
    if (active >= concurrency) return queue.wait(options);
    active += 1;
    return createRelease();
  }

  return {
    acquire,
    async run(task, options) {
      const release = await acquire(options);
      try {
        return await task();
      } finally {
        release();
      }
    },
    get active() {
      return active;
    },
    get waiting() {
      return queue.size;
    },
  };
}
