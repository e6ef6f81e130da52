import { isCodedError } from "@cache-registry/core/errors";
import type { LabelOf } from "@cache-registry/registry-client/upstream-label";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";

/** Content of an upstream was passed on to clients, as the store could not take it. */
export type NotStored = (kind: "manifest" | "blob", upstream: string, error: unknown) => void;

/** A full disk fails everything at once; one line says as much. Milliseconds. */
const LOG_INTERVAL_MS = 10_000;

export type NotStoredDeps = { readonly metrics: Metrics; readonly logger: Logger; readonly labelOf: LabelOf };

export function createNotStored({ metrics, logger, labelOf }: NotStoredDeps): NotStored {
  const notStored = metrics.counter({
    name: "not_stored_total",
    help: "Content of upstreams that was passed on to clients past the store, which could not take it",
    labels: ["kind", "upstream"],
  });
  let loggedAt = Number.NEGATIVE_INFINITY;
  return (kind, upstream, err) => {
    notStored.inc({ kind, upstream: labelOf(upstream) });
    if (performance.now() - loggedAt < LOG_INTERVAL_MS) return;
    loggedAt = performance.now();
    logger.error({ err, kind, upstream }, "content cannot be stored: it is passed on");
  };
}

/** Is our own store to blame? Refusals (a name that belongs to another origin) are not failures. */
export function isStoreFailure(error: unknown): boolean {
  return !isCodedError(error) || error.status >= 500;
}
