/** Foreground goes before background; within each, first come, first served. */
export type Priority = "foreground" | "background";

/** A priority that rises when somebody joins who is in more of a hurry. */
export type Urgency = {
  readonly current: Priority;
  /** To foreground, also for whoever waits with it already. */
  raise(): void;
  /** The result ends it. */
  onRaise(listener: () => void): () => void;
};

export function createUrgency(priority: Priority): Urgency {
  const listeners = new Set<() => void>();
  let current = priority;
  return {
    get current() {
      return current;
    },
    raise() {
      if (current === "foreground") return;
      current = "foreground";
      for (const listener of listeners) listener();
    },
    onRaise(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export type WaitOptions = {
  /** Leaves the queue when aborted. */
  readonly signal?: AbortSignal | undefined;
  readonly priority?: Priority | Urgency | undefined;
};

export type WaitQueue<Value> = {
  /** Until it is this one's turn. @throws the signal's reason */
  wait(options?: WaitOptions): Promise<Value>;
  /** The next in line goes on with what `give` makes; false, and nothing made, when nobody waits. */
  admit(give: () => Value): boolean;
  readonly size: number;
};

export function createWaitQueue<Value = void>(): WaitQueue<Value> {
  type Admit = (value: Value) => void;
  const queues: Record<Priority, Set<Admit>> = { foreground: new Set(), background: new Set() };

  function enqueue({ signal, priority = "foreground" }: WaitOptions): Promise<Value> {
    return new Promise((resolve, reject) => {
      const urgency = typeof priority === "string" ? undefined : priority;
      const leave = (): void => {
        end();
        reject(signal?.reason);
      };
      const admit: Admit = (value) => {
        end();
        resolve(value);
      };
      const stopListening = urgency?.onRaise(() => {
        queues.background.delete(admit);
        queues.foreground.add(admit);
      });
      const end = (): void => {
        queues.foreground.delete(admit);
        queues.background.delete(admit);
        signal?.removeEventListener("abort", leave);
        stopListening?.();
      };
      signal?.addEventListener("abort", leave, { once: true });
      queues[typeof priority === "string" ? priority : priority.current].add(admit);
    });
  }

  return {
    async wait(options = {}) {
      options.signal?.throwIfAborted();
      return enqueue(options);
    },
    admit(give) {
      const [first = queues.background.values().next().value] = queues.foreground;
      first?.(give());
      return first !== undefined;
    },
    get size() {
      return queues.foreground.size + queues.background.size;
    },
  };
}
