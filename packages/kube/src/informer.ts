import { messageOf } from "@cache-registry/core/errors";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { ApiError, isExpired } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import type { KubeObject, ListMeta } from "./object.ts";
import { type Change, createObjectStore } from "./object-store.ts";
import type { Resource } from "./resource.ts";
import { readWatch, WatchGarbled, WatchStalled } from "./watch-stream.ts";

export type InformerOptions<T extends KubeObject, Kept> = {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Takes what is needed from a full object; only its result stays in memory. */
  readonly transform: (object: T) => Kept;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds; all have defaults. */
  readonly timing?: Partial<InformerTiming>;
};

export type InformerTiming = {
  /** Silence after which a watch is dead. The API server sends a bookmark about once a minute. */
  readonly stallTimeout: number;
  /** A watch ends and a full list is made after so long, in case an event was lost somewhere. */
  readonly relistInterval: number;
  readonly retryInitial: number;
  readonly retryMax: number;
};

/** A local copy of a collection, kept up to date for as long as it runs, whatever the API server does meanwhile. */
export interface Informer<Kept, T extends KubeObject = KubeObject> {
  /** Runs until the signal; never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves after the first complete list. Rejects with the signal's reason when that comes first. */
  synced(signal: AbortSignal): Promise<void>;
  get(key: string): Kept | undefined;
  values(): IterableIterator<Kept>;
  keys(): IterableIterator<string>;
  readonly size: number;
  onChange(listener: (change: Change<Kept>) => void): void;
  /** Puts the answer of an own write into the copy, so that the next look sees it. */
  observe(object: T): void;
  /** Why the copy cannot be trusted right now, if so. */
  problem(): string | undefined;
  readonly resource: Resource<T>;
}

const PAGE_SIZE = 500;
const WATCH_SECONDS = 480;
const LIST_TIMEOUT = 60_000;
const DEFAULT_TIMING: InformerTiming = {
  stallTimeout: 150_000,
  relistInterval: 1_800_000,
  retryInitial: 500,
  retryMax: 30_000,
};

export function createInformer<T extends KubeObject, Kept>(options: InformerOptions<T, Kept>): Informer<Kept, T> {
  const { client, resource, namespace, labelSelector, fieldSelector } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const scope = { namespace, labelSelector, fieldSelector };
  const logger = options.logger.child({ informer: resource.plural });
  const store = createObjectStore<T, Kept>(options.transform);
  const listeners: ((change: Change<Kept>) => void)[] = [];
  const first = Promise.withResolvers<void>();
  const observed = informerMetrics(options.metrics, resource.plural);
  const backoff = createBackoff({ initial: timing.retryInitial, max: timing.retryMax });
  let listed = false;
  let failure: string | undefined;

  function emit(changes: readonly Change<Kept>[]): void {
    observed.objects(store.size);
    for (const change of changes) for (const listener of listeners) listener(change);
  }

  /** Pages through the collection; a continue token that expired means from the beginning. */
  async function list(signal: AbortSignal): Promise<string> {
    const next = store.replace();
    let meta: ListMeta = {};
    do {
      const page = await client.list(resource, {
        ...scope,
        limit: PAGE_SIZE,
        continue: meta.continue,
        signal,
        timeout: LIST_TIMEOUT,
      });
      for (const object of page.items) next.put(object);
      meta = page.metadata;
    } while (meta.continue);
    emit(next.finish());
    observed.alive();
    listed = true;
    first.resolve();
    return meta.resourceVersion ?? "";
  }

  /** One watch, to its end; `progress` is told the resource version to go on from. */
  async function watch(from: string, signal: AbortSignal, progress: (version: string) => void): Promise<void> {
    const response = await client.watch(resource, {
      ...scope,
      resourceVersion: from,
      // Spread, so that the watches of all informers and replicas do not end together.
      timeoutSeconds: Math.round(WATCH_SECONDS * (0.75 + Math.random() / 2)),
      signal,
    });
    failure = undefined;
    for await (const event of readWatch<T>(response, timing.stallTimeout)) {
      observed.alive();
      backoff.reset();
      if (event.type === "BOOKMARK") {
        progress(event.resourceVersion);
        continue;
      }
      emit(event.type === "DELETED" ? store.remove(event.object) : store.put(event.object));
      progress(event.object.metadata.resourceVersion ?? "");
    }
  }

  async function run(signal: AbortSignal): Promise<void> {
    let version = "";
    let listedAt = 0;
    while (!signal.aborted) {
      const opened = performance.now();
      try {
        if (version === "" || opened - listedAt > timing.relistInterval) {
          version = await list(signal);
          listedAt = performance.now();
        }
        await watch(version, signal, (newer) => {
          if (newer !== "") version = newer;
        });
        observed.restarted("ended");
        // A server that ends each watch at once must not be asked in a tight loop.
        if (performance.now() - opened < 1_000) await sleep(backoff.next(), signal);
      } catch (error) {
        if (signal.aborted) return;
        const { reason, relist } = judge(error);
        observed.restarted(reason);
        failure = messageOf(error);
        if (relist || backoff.attempts >= 2) version = "";
        const wait = error instanceof ApiError ? error.retryAfter : undefined;
        logger.warn({ err: error, reason, relist: version === "" }, "watch failed, starting again");
        await sleep(wait ?? backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  return {
    resource,
    run: (signal) =>
      run(signal).catch((error: unknown) => void (signal.aborted || logger.error({ err: error }, "informer ended"))),
    async synced(signal) {
      signal.throwIfAborted();
      const aborted = Promise.withResolvers<never>();
      const abort = (): void => aborted.reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      await Promise.race([first.promise, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
    },
    get: (key) => store.get(key),
    values: () => store.values(),
    keys: () => store.keys(),
    get size() {
      return store.size;
    },
    onChange: (listener) => void listeners.push(listener),
    observe: (object) => emit(store.put(object)),
    problem: () => {
      if (!listed) return `${resource.plural} not listed yet${failure === undefined ? "" : `: ${failure}`}`;
      return failure === undefined ? undefined : `${resource.plural} not watched: ${failure}`;
    },
  };
}

/** Why a watch broke, and whether changes may have been lost with it. When in doubt they were. */
function judge(error: unknown): { reason: string; relist: boolean } {
  if (isExpired(error)) return { reason: "expired", relist: true };
  if (error instanceof WatchStalled) return { reason: "stalled", relist: true };
  if (error instanceof WatchGarbled) return { reason: "garbled", relist: true };
  if (error instanceof ApiError) {
    const busy = error.status === 429 || error.status === 503;
    return { reason: busy ? "busy" : `status_${error.status}`, relist: !busy };
  }
  return { reason: "connection", relist: false };
}

function informerMetrics(metrics: Metrics, resource: string) {
  const labels = ["resource"] as const;
  const restarts = metrics.counter({
    name: "kube_watch_restarts_total",
    help: "Watches that ended and were started again, by reason (ended: properly, by the server).",
    labels: ["resource", "reason"],
  });
  const alive = metrics.gauge({
    name: "kube_watch_last_event_timestamp_seconds",
    help: "When the API server last sent an event or a bookmark, or answered a list.",
    labels,
  });
  const objects = metrics.gauge({ name: "kube_watch_objects", help: "Objects held in memory.", labels });
  return {
    restarted: (reason: string) => restarts.inc({ resource, reason }),
    alive: () => alive.set({ resource }, Date.now() / 1_000),
    objects: (count: number) => objects.set({ resource }, count),
  };
}
