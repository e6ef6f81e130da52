import type { Metrics } from "@cache-registry/runtime/metrics";
import type { UpstreamErrorKind } from "./upstream-error.ts";

export type Resource = "manifest" | "blob";

export type ClientMetrics = {
  answered(upstream: string, resource: Resource, result: "ok" | UpstreamErrorKind): void;
  /** Seconds from the question to the headers of the answer. */
  waited(upstream: string, resource: Resource, seconds: number): void;
  received(upstream: string, bytes: number): void;
};

const NONE: ClientMetrics = { answered: () => undefined, waited: () => undefined, received: () => undefined };

export function createClientMetrics(metrics: Metrics | undefined): ClientMetrics {
  if (!metrics) return NONE;
  const requests = metrics.counter({
    name: "upstream_requests_total",
    help: "Questions to upstreams by result, each try counted",
    labels: ["upstream", "resource", "result"],
  });
  const seconds = metrics.histogram({
    name: "upstream_answer_seconds",
    help: "Time until an upstream's headers arrive, redirects and tokens included",
    labels: ["upstream", "resource"],
  });
  const bytes = metrics.counter({
    name: "upstream_received_bytes_total",
    help: "Bytes of content received from upstreams",
    labels: ["upstream"],
  });
  return {
    answered: (upstream, resource, result) => requests.inc({ upstream, resource, result }),
    waited: (upstream, resource, time) => seconds.observe({ upstream, resource }, time),
    received: (upstream, count) => bytes.inc({ upstream }, count),
  };
}
