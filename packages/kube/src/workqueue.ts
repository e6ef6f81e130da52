import { type Backoff, createBackoff } from "@cache-registry/runtime/backoff";
import type { Reconcile } from "./reconcile.ts";

export type WorkqueueOptions = {
  readonly process: Reconcile;
  readonly concurrency: number;
  /** Milliseconds: delays after failures of one key. */
  readonly retry?: { readonly initial: number; readonly max: number };
  readonly onError: (key: string, error: unknown, delay: number) => void;
  /** Seconds that one call took. */
  readonly onDone?: (outcome: "ok" | "error", seconds: number) => void;
};

export interface Workqueue {
  /** To be processed as soon as possible; a key waiting already is not added twice. */
  add(key: string): void;
  /** To be processed no later than that; an earlier appointment stays. */
  addAfter(key: string, milliseconds: number): void;
  /** Keys that are ready and wait for a worker. */
  readonly depth: number;
  /** Processes until the signal, then waits for what is being processed. */
  run(signal: AbortSignal): Promise<void>;
}

/** Node's timers fire at once beyond 2^31 ms (24 days); work is level-based, so waking up early does no harm. */
const MAX_DELAY = 86_400_000;
/** What a key waits for is over within moments as a rule, and nobody tells us when: a minute is the most to lose. */
const DEFAULT_RETRY = { initial: 500, max: 60_000 };

type Appointment = { readonly at: number; readonly timer: NodeJS.Timeout };

/** Keys to process: each at most once in the queue, never twice at the same time, failures with a growing delay. */
export function createWorkqueue(options: WorkqueueOptions): Workqueue {
  const { process, concurrency, retry = DEFAULT_RETRY } = options;
  const ready = new Set<string>();
  const running = new Map<string, Promise<void>>();
  /** Added while being processed: again afterwards. */
  const dirty = new Set<string>();
  const appointments = new Map<string, Appointment>();
  const backoffs = new Map<string, Backoff>();
  let active: AbortSignal | undefined;

  function add(key: string): void {
    if (running.has(key)) dirty.add(key);
    else ready.add(key);
    fill();
  }

  function addAfter(key: string, milliseconds: number): void {
    if (active?.aborted) return;
    const delay = Math.min(Math.max(0, milliseconds), MAX_DELAY);
    const at = performance.now() + delay;
    const earlier = appointments.get(key);
    if (earlier && earlier.at <= at) return;
    cancel(key);
    const timer = setTimeout(() => {
      appointments.delete(key);
      add(key);
    }, delay);
    appointments.set(key, { at, timer });
  }

  function cancel(key: string): void {
    clearTimeout(appointments.get(key)?.timer);
    appointments.delete(key);
  }

  function fill(): void {
    if (active === undefined || active.aborted) return;
    for (const key of ready) {
      if (running.size >= concurrency) return;
      ready.delete(key);
      running.set(key, work(key, active));
    }
  }

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const started = performance.now();
    // The call decides anew when to look again.
    cancel(key);
    try {
      const { requeueAfter } = await process(key, signal);
      options.onDone?.("ok", (performance.now() - started) / 1_000);
      backoffs.delete(key);
      if (requeueAfter !== undefined) addAfter(key, requeueAfter);
    } catch (error) {
      if (!signal.aborted) fail(key, error, started);
    }
    running.delete(key);
    if (dirty.delete(key)) ready.add(key);
    fill();
  }

  function fail(key: string, error: unknown, started: number): void {
    const backoff = backoffs.get(key) ?? createBackoff(retry);
    backoffs.set(key, backoff);
    const delay = backoff.next();
    options.onDone?.("error", (performance.now() - started) / 1_000);
    options.onError(key, error, delay);
    addAfter(key, delay);
  }

  return {
    add,
    addAfter,
    get depth() {
      return ready.size;
    },
    async run(signal) {
      active = signal;
      fill();
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      }
      for (const key of [...appointments.keys()]) cancel(key);
      ready.clear();
      await Promise.all(running.values());
    },
  };
}
