import { createHash } from "node:crypto";
import { createLimiter, type Limiter } from "@cache-registry/runtime/limiter";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { WaitOptions } from "@cache-registry/runtime/wait-queue";
import { createRecentMap } from "../recent-map.ts";
import type { Upstream } from "../upstream.ts";
import { isUpstreamError, UpstreamError } from "../upstream-error.ts";
import { createEndpointMemory, type Visit } from "./endpoint-memory.ts";
import { isLow, parseQuota, type Quota } from "./quota.ts";
import { createRateLimiter, type RateLimiter } from "./rate-limiter.ts";
import { createTrafficMetrics } from "./traffic-metrics.ts";
import { createUpstreamStatus } from "./upstream-status.ts";

export type Asking = {
  readonly upstream: Upstream;
  readonly endpoint: URL;
  readonly resource: string;
  /** The caller's own `Authorization`: its limits are not ours. */
  readonly authorization?: string | undefined;
};

/** Why nothing that can wait should be asked of an upstream now. */
export type Hold = {
  /** For people, without secrets. */
  readonly reason: string;
  /** Milliseconds until it is worth looking again. */
  readonly wait: number;
  /** Nothing but a new answer of the upstream tells whether it is over: ask something that costs nothing. */
  readonly probe: boolean;
};

/**
 * What goes to the upstreams, and when. It outlives the client, so that a change of the configuration forgets no limit.
 * Per registry name: the connections and requests that the configuration allows, and what the upstream said of its own.
 */
export type Traffic = {
  /** Blobs at the same time. */
  slots(upstream: Upstream): Limiter;
  /** Waits for the turn of one request under `rate`. @throws UpstreamError rate-limited when that takes too long */
  turn(upstream: Upstream, options: WaitOptions): Promise<void>;
  /** @throws UpstreamError while the endpoint is left alone */
  enter(asking: Asking): Visit;
  /** Reads what an answer says about limits. */
  observe(asking: Asking, headers: Readonly<Record<string, string | string[] | undefined>>): void;
  /** Should a warm-up wait? */
  hold(registry: string): Hold | undefined;
  /** What is wrong with an upstream by all that is known of it, for people; undefined: nothing. */
  troubleOf(upstream: Upstream): string | undefined;
  /** An upstream is reached in another way, or as somebody else: what it said before was not meant for that. */
  forget(registry: string): void;
};

export type TrafficOptions = {
  readonly metrics?: Metrics | undefined;
  readonly logger?: Logger | undefined;
  readonly isListed?: (registry: string) => boolean;
  /** Milliseconds; monotonic. */
  readonly now?: () => number;
};

/** How long a background request waits for its turn at most; one of the foreground waits for the time-out of headers. */
const BACKGROUND_PATIENCE_MS = 300_000;
/** How old the news of a low quota may be before it is asked for again. */
const PROBE_INTERVAL_MS = 60_000;
/** News of a quota is worth nothing later than that, whatever the upstream says, or when it does not. */
const MAX_WINDOW_MS = 24 * 3_600_000;
const UNTOLD_WINDOW_MS = 3_600_000;
const MAX_REGISTRIES = 1_000;

type Seen = Quota & { readonly at: number };

/** A part of each registry's state that is made from one value of its configuration, and anew when that changes. */
function createPerRegistry<Value, State>(create: (value: Value) => State) {
  const states = createRecentMap<string, { readonly value: Value; readonly state: State }>(MAX_REGISTRIES);
  return (registry: string, value: Value): State => {
    const known = states.get(registry);
    if (known?.value === value) return known.state;
    const state = create(value);
    states.set(registry, { value, state });
    return state;
  };
}

export function createTraffic(options: TrafficOptions = {}): Traffic {
  const { now = () => performance.now(), isListed = () => true } = options;
  const memory = createEndpointMemory({ now });
  const status = createUpstreamStatus({ logger: options.logger, isListed });
  const metrics = createTrafficMetrics(options.metrics, memory, isListed);
  const slots = createPerRegistry(createLimiter);
  const rates = createPerRegistry((rate: number): RateLimiter => createRateLimiter({ rate, now }));
  const quotas = createRecentMap<string, Seen>(MAX_REGISTRIES);

  /** What was last said of the quota; undefined when its window is over. */
  function quotaOf(registry: string): Seen | undefined {
    const seen = quotas.get(registry);
    return seen && now() - seen.at < Math.min(seen.window ?? UNTOLD_WINDOW_MS, MAX_WINDOW_MS) ? seen : undefined;
  }

  return {
    slots: ({ registry, concurrency }) => slots(registry, concurrency),
    async turn({ registry, rate, timeouts }, { signal, priority = "foreground" }) {
      if (rate === undefined) return;
      const current = typeof priority === "string" ? priority : priority.current;
      const patience = current === "foreground" ? timeouts.headers : BACKGROUND_PATIENCE_MS;
      const tooLong = AbortSignal.timeout(patience);
      const asked = now();
      try {
        const limiter = rates(registry, rate);
        await limiter.take({ priority, signal: signal ? AbortSignal.any([signal, tooLong]) : tooLong });
      } catch (error) {
        signal?.throwIfAborted();
        if (!tooLong.aborted) throw error;
        throw new UpstreamError("too many requests wait for their turn (rate)", {
          kind: "rate-limited",
          registry,
          retryAfter: patience,
        });
      } finally {
        metrics.queued(registry, (now() - asked) / 1000);
      }
    },
    enter({ upstream: { registry }, endpoint, resource, authorization }) {
      const identity = authorization === undefined ? "" : createHash("sha256").update(authorization).digest("base64");
      try {
        const { origin } = endpoint;
        const visit = memory.enter({ registry, origin, identity, resource });
        const place = { registry, origin, resource, foreign: authorization !== undefined };
        return {
          succeeded() {
            visit.succeeded();
            status.succeeded(place);
          },
          failed(error) {
            visit.failed(error);
            status.failed(place, error);
          },
          abandoned: () => visit.abandoned(),
        };
      } catch (error) {
        if (isUpstreamError(error)) metrics.refrained(registry, error.kind);
        throw error;
      }
    },
    observe({ upstream: { registry }, authorization }, headers) {
      const quota = authorization === undefined ? parseQuota(headers) : undefined;
      if (!quota) return;
      quotas.set(registry, { ...quota, at: now() });
      metrics.quota(registry, quota);
    },
    hold(registry) {
      const until = memory.limitedUntil(registry);
      if (until !== undefined) return { reason: `${registry} says 429`, wait: until - now(), probe: false };
      const seen = quotaOf(registry);
      if (!seen || !isLow(seen)) return undefined;
      const of = seen.limit === undefined ? "" : ` of ${seen.limit}`;
      const due = seen.at + PROBE_INTERVAL_MS - now();
      return {
        reason: `${registry} grants only ${seen.remaining}${of} more pulls, which are kept for pods`,
        wait: Math.max(0, due),
        probe: due <= 0,
      };
    },
    troubleOf(upstream) {
      const until = memory.limitedUntil(upstream.registry);
      const pause =
        until === undefined ? [] : [`pausing until ${new Date(Date.now() + until - now()).toISOString()} (429)`];
      return [...pause, ...status.troublesOf(upstream)].join("; ") || undefined;
    },
    forget(registry) {
      memory.forget(registry);
      status.forget(registry);
      quotas.delete(registry);
    },
  };
}
