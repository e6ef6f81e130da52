import type { Metrics } from "@cache-registry/runtime/metrics";
import type { PassedBy } from "./cached-answer.ts";
import type { CircuitBreaker } from "./circuit-breaker.ts";

export type ProxyMetrics = {
  /** The cache gave no answer that the client wants. */
  passedBy(reason: PassedBy): void;
  /** A body broke and went on from another source. */
  continued(): void;
};

export function createProxyMetrics(metrics: Metrics, breaker: CircuitBreaker): ProxyMetrics {
  const passedBy = metrics.counter({
    name: "proxy_failovers_total",
    help: "Requests for which the cache was passed by, by reason",
    labels: ["reason"],
  });
  const continued = metrics.counter({
    name: "proxy_continued_bodies_total",
    help: "Breaks in the middle of a body that were continued from another source",
  });
  metrics.gauge({
    name: "proxy_circuit_open",
    help: "1 while the cache is not asked because connecting to it failed",
    collect: (gauge) => gauge.set(breaker.open ? 1 : 0),
  });
  return { passedBy: (reason) => passedBy.inc({ reason }), continued: () => continued.inc() };
}
