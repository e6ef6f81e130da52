import { CLUSTER_STATE_VERSION, type ClusterState, isSameClusterState } from "@cache-registry/core/cluster-state";
import type { EventRecorder } from "@cache-registry/kube/events";
import { CONFIG_MAPS } from "@cache-registry/kube/resource";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { LoopList } from "../loops/loop-list.ts";
import { createClusterHealth, type HealthRules, type Observation, type Verdict } from "./health.ts";
import type { Observer } from "./observer.ts";
import type { StatePublisher } from "./publisher.ts";

export type ClusterStateOptions = {
  readonly rules: HealthRules;
  readonly observer: Observer;
  readonly loops: LoopList;
  /** Undefined: the verdict shows in the log and the metrics only. */
  readonly publisher: StatePublisher | undefined;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds between two looks, and between two looks at what is published. */
  readonly timing: { readonly look: number; readonly verify: number };
};

/** Healthy or not, and who is left alone: followed for as long as this replica leads, published on transitions. */
export interface ClusterStateController {
  /** Until the signal; begins with what the leader before has published. */
  run(signal: AbortSignal): Promise<void>;
}

export function createClusterState(options: ClusterStateOptions): ClusterStateController {
  const { rules, observer, loops, publisher, events, logger, timing } = options;
  const gauges = createGauges(options.metrics);
  let published: ClusterState | undefined;
  let verified = 0;

  /** Somebody may delete or change the ConfigMap; then the webhook would wait for the next transition. */
  async function verify(signal: AbortSignal): Promise<void> {
    if (!publisher || performance.now() - verified < timing.verify) return;
    published = await publisher.read(signal);
    verified = performance.now();
  }

  async function publish(verdict: Verdict, signal: AbortSignal): Promise<void> {
    if (!publisher) return;
    await verify(signal);
    const now = new Date();
    const next: ClusterState = {
      version: CLUSTER_STATE_VERSION,
      writtenAt: now,
      healthy: verdict.healthy,
      reasons: [...verdict.reasons],
      loops: [...loops.active(now)],
    };
    if (published && isSameClusterState(published, next)) return;
    await publisher.write(next, signal);
    gauges.writes.inc();
    const before = published;
    published = next;
    if (before?.healthy !== next.healthy) await tell(next);
  }

  async function tell({ healthy, reasons }: ClusterState): Promise<void> {
    if (!publisher) return;
    const note = healthy
      ? "The registry and the proxies are ready: images of new pods are rewritten."
      : `Images of new pods are left as written until the cache is healthy again. ${reasons.join(". ")}`;
    const [type, reason] = healthy ? (["Normal", "CacheHealthy"] as const) : (["Warning", "CacheUnhealthy"] as const);
    await events.record(CONFIG_MAPS, publisher.object, { type, reason, action: "PublishState", note });
  }

  function note(observation: Observation, verdict: Verdict | undefined, before: Verdict | undefined): void {
    gauges.observe(observation, verdict, loops.active(new Date()).length);
    if (!verdict || verdict === before) return;
    if (verdict.healthy) logger.info("the cache is healthy");
    else logger.warn({ reasons: verdict.reasons }, "the cache is unhealthy");
  }

  async function restore(signal: AbortSignal): Promise<Verdict | undefined> {
    while (publisher) {
      try {
        published = await publisher.read(signal);
        verified = performance.now();
        loops.restore(published?.loops ?? []);
        return published && { healthy: published.healthy, reasons: published.reasons };
      } catch (error) {
        signal.throwIfAborted();
        logger.warn({ err: error }, "the published cluster state cannot be read");
        await sleep(timing.look, signal);
      }
    }
    return undefined;
  }

  async function follow(signal: AbortSignal): Promise<void> {
    let verdict = await restore(signal);
    const health = createClusterHealth(rules, verdict);
    for (;;) {
      const observation = await observer.look(signal);
      const next = health.observe(observation, performance.now());
      note(observation, next, verdict);
      verdict = next;
      if (verdict) {
        await publish(verdict, signal).catch((error: unknown) => {
          if (!signal.aborted) logger.warn({ err: error }, "the cluster state cannot be published");
        });
      }
      await sleep(timing.look, signal);
    }
  }

  return {
    async run(signal) {
      try {
        await follow(signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        gauges.reset();
      }
    },
  };
}

function createGauges(metrics: Metrics) {
  const healthy = metrics.gauge({
    name: "cluster_healthy",
    help: "1 while images may be rewritten; only the leader knows.",
  });
  const proxies = metrics.gauge({
    name: "cluster_proxies",
    help: "Ready nodes on which a proxy should run (targeted), and those without a ready one (unready).",
    labels: ["state"],
  });
  const looping = metrics.gauge({
    name: "cluster_looping_owners",
    help: "Owners whose pods are not rewritten because they recreated them again and again.",
  });
  const writes = metrics.counter({
    name: "cluster_state_writes_total",
    help: "Times that the cluster state was published.",
  });
  return {
    writes,
    observe({ proxies: seen }: Observation, verdict: Verdict | undefined, owners: number) {
      if (verdict) healthy.set(verdict.healthy ? 1 : 0);
      looping.set(owners);
      if (!seen) return;
      proxies.set({ state: "targeted" }, seen.targeted);
      proxies.set({ state: "unready" }, seen.unready.length + seen.missing);
    },
    /** Another replica leads: what this one knew is no longer true. */
    reset() {
      for (const gauge of [healthy, proxies, looping]) gauge.reset();
    },
  };
}
