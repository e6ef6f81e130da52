export type SingleFlight<Value> = {
  /**
   * Joins the running call for the key or starts `task`. Everyone gets its result or its error; nothing is remembered
   * afterwards. An aborted `signal` drops only this waiter (with the signal's reason): the call goes on for the others.
   */
  run(key: string, task: () => Promise<Value>, signal?: AbortSignal): Promise<Value>;
  has(key: string): boolean;
  /** Running calls. */
  readonly size: number;
};

/** Settles like `call`, or rejects with the signal's reason if that comes first. */
function untilAborted<Value>(call: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const drop = (): void => reject(signal.reason);
    signal.addEventListener("abort", drop, { once: true });
    call.then(resolve, reject).finally(() => signal.removeEventListener("abort", drop));
  });
}

export function createSingleFlight<Value>(): SingleFlight<Value> {
  const calls = new Map<string, Promise<Value>>();

  function start(key: string, task: () => Promise<Value>): Promise<Value> {
    // An async wrapper turns a synchronous throw of the task into a rejection.
    const call = (async () => task())().finally(() => calls.delete(key));
    // With every waiter gone nobody would handle a failure.
    call.catch(() => {});
    calls.set(key, call);
    return call;
  }

  return {
    async run(key, task, signal) {
      signal?.throwIfAborted();
      const call = calls.get(key) ?? start(key, task);
      return signal ? untilAborted(call, signal) : call;
    },
    has: (key) => calls.has(key),
    get size() {
      return calls.size;
    },
  };
}
