import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { Informer } from "./informer.ts";
import type { Reconcile } from "./reconcile.ts";
import { createWorkqueue } from "./workqueue.ts";

export type ControllerOptions = {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly concurrency: number;
  /** Copies that the reconciler reads: no work starts before each has been listed. */
  readonly informers: readonly Pick<Informer<unknown, never>, "synced">[];
  /** Every key again after so many milliseconds, whether or not something happened. */
  readonly resync?: { readonly interval: number; readonly keys: () => Iterable<string> };
  readonly retry?: { readonly initial: number; readonly max: number };
  readonly logger: Logger;
  readonly metrics: Metrics;
};

export interface Controller {
  /** May be called before `run`; the keys wait. */
  enqueue(key: string): void;
  enqueueAfter(key: string, milliseconds: number): void;
  /** Until the signal; resolves when the last reconciliation has ended. */
  run(signal: AbortSignal): Promise<void>;
}

/** informers → work queue → reconcile. Who connects the informers' changes to `enqueue` decides what is looked at. */
export function createController(options: ControllerOptions): Controller {
  const { name, reconcile, concurrency, informers, resync, retry } = options;
  const logger = options.logger.child({ controller: name });
  const duration = options.metrics.histogram({
    name: "reconcile_duration_seconds",
    help: "Time that one reconciliation took.",
    labels: ["controller", "outcome"],
  });
  const depth = options.metrics.gauge({
    name: "workqueue_depth",
    help: "Keys that wait for a worker.",
    labels: ["controller"],
  });
  const queue = createWorkqueue({
    process: reconcile,
    concurrency,
    retry,
    onError: (key, error, delay) => logger.warn({ err: error, key, retryAfter: delay }, "reconciliation failed"),
    onDone: (outcome, seconds) => {
      duration.observe({ controller: name, outcome }, seconds);
      depth.set({ controller: name }, queue.depth);
    },
  });

  function startResync(signal: AbortSignal): void {
    if (!resync) return;
    const timer = setInterval(() => {
      // Spread over a tenth of the interval: a resync must not be a burst.
      for (const key of resync.keys()) queue.addAfter(key, (Math.random() * resync.interval) / 10);
    }, resync.interval);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  return {
    enqueue: (key) => queue.add(key),
    enqueueAfter: (key, milliseconds) => queue.addAfter(key, milliseconds),
    async run(signal) {
      try {
        await Promise.all(informers.map((informer) => informer.synced(signal)));
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      startResync(signal);
      await queue.run(signal);
    },
  };
}
