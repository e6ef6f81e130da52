import type { Metrics } from "@cache-registry/runtime/metrics";
import { createUpstreamLabels } from "../upstream-label.ts";
import type { BlockReason, EndpointMemory } from "./endpoint-memory.ts";
import type { Quota } from "./quota.ts";

export type TrafficMetrics = {
  /** A question that was not asked, as the endpoint is to be left alone. */
  refrained(upstream: string, kind: string): void;
  quota(upstream: string, quota: Quota): void;
  /** Seconds that a request waited for its turn under `rate`. */
  queued(upstream: string, seconds: number): void;
};

const NONE: TrafficMetrics = { refrained: () => undefined, quota: () => undefined, queued: () => undefined };

export function createTrafficMetrics(
  metrics: Metrics | undefined,
  memory: EndpointMemory,
  isListed: (registry: string) => boolean,
): TrafficMetrics {
  if (!metrics) return NONE;
  const labelOf = createUpstreamLabels(isListed);
  const refrained = metrics.counter({
    name: "upstream_refrained_total",
    help: "Questions that were answered at once, without asking: the upstream is limiting us or fails, by kind of failure",
    labels: ["upstream", "kind"],
  });
  const limit = metrics.gauge({
    name: "upstream_ratelimit_limit",
    help: "Requests that the upstream grants in its window, by its ratelimit-limit header",
    labels: ["upstream"],
  });
  const remaining = metrics.gauge({
    name: "upstream_ratelimit_remaining",
    help: "Requests that are left in the upstream's window, by its ratelimit-remaining header",
    labels: ["upstream"],
  });
  const window = metrics.gauge({
    name: "upstream_ratelimit_window_seconds",
    help: "Length of the upstream's window",
    labels: ["upstream"],
  });
  const queued = metrics.counter({
    name: "upstream_rate_waited_seconds_total",
    help: "Time that requests waited for their turn under the upstream's rate",
    labels: ["upstream"],
  });
  metrics.gauge({
    name: "upstream_paused_seconds",
    help: "How long the upstream is still left alone: it said 429 (rate-limit) or fails (failing)",
    labels: ["upstream", "reason"],
    collect(gauge) {
      gauge.reset();
      const longest = new Map<string, { upstream: string; reason: BlockReason; left: number }>();
      for (const { registry, reason, left } of memory.blocked()) {
        const upstream = labelOf(registry);
        const known = longest.get(`${upstream} ${reason}`)?.left ?? 0;
        longest.set(`${upstream} ${reason}`, { upstream, reason, left: Math.max(left, known) });
      }
      for (const { upstream, reason, left } of longest.values()) gauge.set({ upstream, reason }, left / 1000);
    },
  });
  return {
    refrained: (registry, kind) => refrained.inc({ upstream: labelOf(registry), kind }),
    quota(registry, quota) {
      // Whoever names registries in requests must not fill the metrics with them.
      if (!isListed(registry)) return;
      remaining.set({ upstream: registry }, quota.remaining);
      if (quota.limit !== undefined) limit.set({ upstream: registry }, quota.limit);
      if (quota.window !== undefined) window.set({ upstream: registry }, quota.window / 1000);
    },
    queued: (registry, seconds) => queued.inc({ upstream: labelOf(registry) }, seconds),
  };
}
