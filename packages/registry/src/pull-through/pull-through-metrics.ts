import type { LabelOf } from "@cache-registry/registry-client/upstream-label";
import type { Metrics } from "@cache-registry/runtime/metrics";

/**
 * How a request for content was answered: from the store; by a question to the upstream of its own, or one that was
 * under way; from the store although the upstream could not confirm it; past the store, which could not take it. Also in
 * the Cache-Status header (RFC 9211) and in the access log.
 */
export type Outcome = "hit" | "miss" | "joined" | "stale" | "bypass";

export type PullThroughMetrics = {
  answered(kind: "manifest" | "blob", upstream: string, outcome: Outcome): void;
  upstreamBytes(upstream: string, count: number): void;
  resumed(upstream: string, have: number): void;
  staleReason(upstream: string, reason: string): void;
  servedBytes(sent: { readonly source: "store" | "fetch"; readonly upstream: string; readonly bytes: number }): void;
  /** A client reads from a fetch that is under way; the result ends that, also when called twice. */
  waiting(): () => void;
  /** A fetch of a blob is under way; likewise. */
  fetching(): () => void;
  /** Seconds from the request to the first byte of the answer. */
  firstByte(kind: "manifest" | "blob", outcome: Outcome, seconds: number): void;
};

export function createPullThroughMetrics(metrics: Metrics, labelOf: LabelOf = (name) => name): PullThroughMetrics {
  const answers = metrics.counter({
    name: "pulls_total",
    help: "Requests for manifests and blobs by how they were answered; upstream is empty for local repositories, unlisted for registries that no entry names",
    labels: ["kind", "upstream", "outcome"],
  });
  const bytes = metrics.counter({
    name: "upstream_bytes_total",
    help: "Bytes read from upstreams",
    labels: ["upstream"],
  });
  const resumes = metrics.counter({
    name: "upstream_resumes_total",
    help: "Upstream reads that broke off and were resumed",
    labels: ["upstream"],
  });
  const resumedBytes = metrics.counter({
    name: "upstream_resumed_bytes_total",
    help: "Bytes that a resumed upstream read had already and did not ask for again",
    labels: ["upstream"],
  });
  const stale = metrics.counter({
    name: "stale_serves_total",
    help: "Tags served although the upstream could not confirm them, by reason",
    labels: ["upstream", "reason"],
  });
  const served = metrics.counter({
    name: "served_bytes_total",
    help: "Blob bytes sent to clients",
    labels: ["source", "upstream"],
  });
  const firstByte = metrics.histogram({
    name: "first_byte_seconds",
    help: "Time from a pull to the first byte of its answer",
    labels: ["kind", "outcome"],
  });
  const waiters = metrics.gauge({
    name: "blob_waiters",
    help: "Clients that read a blob which is still being fetched",
  });
  const fetches = metrics.gauge({ name: "blob_fetches", help: "Blobs that are being fetched from an upstream" });
  return {
    answered: (kind, upstream, outcome) => answers.inc({ kind, upstream: labelOf(upstream), outcome }),
    upstreamBytes: (upstream, count) => bytes.inc({ upstream: labelOf(upstream) }, count),
    resumed(upstream, have) {
      resumes.inc({ upstream: labelOf(upstream) });
      resumedBytes.inc({ upstream: labelOf(upstream) }, have);
    },
    staleReason: (upstream, reason) => stale.inc({ upstream: labelOf(upstream), reason }),
    servedBytes: ({ source, upstream, bytes: count }) => served.inc({ source, upstream: labelOf(upstream) }, count),
    waiting: () => during(waiters),
    fetching: () => during(fetches),
    firstByte: (kind, outcome, seconds) => firstByte.observe({ kind, outcome }, seconds),
  };
}

/** Counts one more until the result is called for the first time. */
function during(gauge: { inc(): void; dec(): void }): () => void {
  gauge.inc();
  let over = false;
  return () => {
    if (!over) gauge.dec();
    over = true;
  };
}
