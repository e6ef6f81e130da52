import type { Metrics } from "@cache-registry/runtime/metrics";

/** How a request for content was answered; also in the Cache-Status header (RFC 9211). */
export type Outcome = "hit" | "miss" | "joined" | "stale";

export type PullThroughMetrics = {
  answered(kind: "manifest" | "blob", upstream: string, outcome: Outcome): void;
  upstreamBytes(upstream: string, count: number): void;
  resumed(upstream: string, have: number): void;
  staleReason(upstream: string, reason: string): void;
  servedBytes(source: "store" | "fetch", count: number): void;
};

export function createPullThroughMetrics(metrics: Metrics): PullThroughMetrics {
  const answers = metrics.counter({
    name: "pulls_total",
    help: "Requests for manifests and blobs by how they were answered; upstream is empty for local repositories",
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
  const stale = metrics.counter({
    name: "stale_serves_total",
    help: "Tags served although the upstream could not confirm them, by reason",
    labels: ["upstream", "reason"],
  });
  const served = metrics.counter({
    name: "served_bytes_total",
    help: "Blob bytes sent to clients",
    labels: ["source"],
  });
  return {
    answered: (kind, upstream, outcome) => answers.inc({ kind, upstream, outcome }),
    upstreamBytes: (upstream, count) => bytes.inc({ upstream }, count),
    resumed: (upstream) => resumes.inc({ upstream }),
    staleReason: (upstream, reason) => stale.inc({ upstream, reason }),
    servedBytes: (source, count) => served.inc({ source }, count),
  };
}
