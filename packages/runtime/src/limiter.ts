/** Foreground goes before background; within each, first come, first served. */
export type Priority = "foreground" | "background";

export type AcquireOptions = {
  /** Leaves the queue when aborted. */
  readonly signal?: AbortSignal | undefined;
  readonly priority?: Priority;
};

export type Limiter = {
  /** Waits for a slot; the result gives it back and may be called more than once. @throws the signal's reason */
  acquire(options?: AcquireOptions): Promise<() => void>;
  /** Holds a slot while the task runs. */
  run<Value>(task: () => Promise<Value>, options?: AcquireOptions): Promise<Value>;
  readonly active: number;
  readonly waiting: number;
};

type Waiter = { readonly admit: () => void };

export function createLimiter(concurrency: number): Limiter {
  if (!Number.isInteger(concurrency) || concurrency < 1) throw new RangeError("concurrency must be a positive integer");
  const queues: Record<Priority, Set<Waiter>> = { foreground: new Set(), background: new Set() };
  let active = 0;

  function next(): Waiter | undefined {
    for (const queue of [queues.foreground, queues.background]) {
      const [first] = queue;
      if (first) {
        queue.delete(first);
        return first;
      }
    }
    return undefined;
  }

  function createRelease(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const waiter = next();
      // The slot passes directly to the next in line, so that no newcomer can overtake it.
      if (waiter) waiter.admit();
      else active -= 1;
    };
  }

  function enqueue(queue: Set<Waiter>, signal: AbortSignal | undefined): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        queue.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        admit() {
          signal?.removeEventListener("abort", leave);
          resolve(createRelease());
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      queue.add(waiter);
    });
  }

  async function acquire({ signal, priority = "foreground" }: AcquireOptions = {}): Promise<() => void> {
    signal?.throwIfAborted();
    if (active >= concurrency) return enqueue(queues[priority], signal);
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
      return queues.foreground.size + queues.background.size;
    },
  };
}
