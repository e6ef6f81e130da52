import { type ImageReference, manifestReferenceOf } from "@cache-registry/core/image-reference";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import type { Hold } from "@cache-registry/registry-client/traffic/traffic";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";

export type GateOptions = {
  readonly signal: AbortSignal;
  /** Told why, each time it begins to wait. */
  readonly onWait: (reason: string) => void;
};

/** Keeps warm-ups back while an upstream limits us or has little left to give: that is for the pulls of pods. */
export type WarmUpGate = {
  closed(registry: string): boolean;
  /** Resolves when the image may be asked for. @throws the signal's reason */
  open(reference: ImageReference, options: GateOptions): Promise<void>;
};

export type WarmUpGateDeps = {
  readonly hold: (registry: string) => Hold | undefined;
  readonly client: Pick<UpstreamClient, "headManifest">;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/** Pulls of pods bring news too, so it is looked often. Milliseconds. */
const LOOK_INTERVAL_MS = 1_000;
const PROBE_INTERVAL_MS = 60_000;

export function createWarmUpGate({ hold, client, metrics, logger }: WarmUpGateDeps): WarmUpGate {
  const waiting = new Map<string, number>();
  const probes = createSingleFlight<void>();
  const probed = new Map<string, number>();
  metrics.gauge({
    name: "warmups_paused",
    help: "Warm-ups that wait as the upstream limits us or grants few more pulls",
    labels: ["upstream"],
    collect(gauge) {
      gauge.reset();
      for (const [upstream, count] of waiting) gauge.set({ upstream }, count);
    },
  });

  /** HEAD does not count against Docker Hub's limit and tells what is left of it. */
  async function probe(image: ImageReference): Promise<void> {
    const { registry, repository } = image;
    const reference = manifestReferenceOf(image);
    const last = probed.get(registry);
    if (last !== undefined && performance.now() - last < PROBE_INTERVAL_MS) return;
    probed.set(registry, performance.now());
    await probes
      .run(registry, async () => {
        await client.headManifest({ registry, repository, reference, priority: "background" });
      })
      .catch((err: unknown) => logger.debug({ upstream: registry, err }, "limit of the upstream not learned"));
  }

  async function waitUntilOpen(reference: ImageReference, { signal, onWait }: GateOptions): Promise<void> {
    const { registry } = reference;
    for (let held = hold(registry); held; held = hold(registry)) {
      onWait(held.reason);
      if (held.probe) await probe(reference);
      const next = held.probe ? LOOK_INTERVAL_MS : Math.min(LOOK_INTERVAL_MS, held.wait);
      await sleep(next, signal);
    }
  }

  return {
    closed: (registry) => hold(registry) !== undefined,
    async open(reference, options) {
      const { registry } = reference;
      const held = hold(registry);
      if (!held) return;
      logger.info({ upstream: registry, reason: held.reason }, "warm-up waits");
      waiting.set(registry, (waiting.get(registry) ?? 0) + 1);
      try {
        await waitUntilOpen(reference, options);
      } finally {
        const left = (waiting.get(registry) ?? 1) - 1;
        if (left > 0) waiting.set(registry, left);
        else {
          waiting.delete(registry);
          probed.delete(registry);
        }
      }
    },
  };
}
