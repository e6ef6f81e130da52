import { CodedError } from "@cache-registry/core/errors";
import { StoreConnectionError } from "../object-store/errors.ts";

/** Servers refuse a request that was signed more than 15 minutes ago; the rest is for clocks that differ. Milliseconds. */
const ACCEPTED_FOR_MS = 20 * 60_000;

const NEVER_SENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/** Removals that were sent and not answered: a server may still carry them out, also after new bytes came (docs/adr/0011). */
export type DoubtfulRemovals = {
  /** An attempt to remove it failed so. */
  add(key: string, failure: unknown): void;
  /** @throws CodedError UNAVAILABLE while bytes committed now could be taken by an old removal */
  check(key: string): void;
};

export function createDoubtfulRemovals(now: () => number = Date.now): DoubtfulRemovals {
  // Insertion order is the order of time.
  const until = new Map<string, number>();
  return {
    add(key, failure) {
      if (wasNeverSent(failure)) return;
      until.delete(key);
      until.set(key, now() + ACCEPTED_FOR_MS);
      for (const [oldest, end] of until) {
        if (end > now()) break;
        until.delete(oldest);
      }
    },
    check(key) {
      if ((until.get(key) ?? 0) <= now()) return;
      const message =
        "this content was being removed, and the object store did not say whether it is done; try again later";
      throw new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "60" } });
    },
  };
}

function wasNeverSent(failure: unknown): boolean {
  if (!(failure instanceof StoreConnectionError)) return false;
  const cause: unknown = failure.cause instanceof AggregateError ? failure.cause.errors[0] : failure.cause;
  return cause instanceof Error && "code" in cause && NEVER_SENT.has(String(cause.code));
}
