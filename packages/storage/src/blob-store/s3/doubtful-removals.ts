import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { S3ConnectionError } from "./errors.ts";

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
  add(digest: Digest, failure: unknown): void;
  /** @throws CodedError UNAVAILABLE while bytes committed now could be taken by an old removal */
  check(digest: Digest): void;
};

export function createDoubtfulRemovals(now: () => number = Date.now): DoubtfulRemovals {
  // Insertion order is the order of time.
  const until = new Map<Digest, number>();
  return {
    add(digest, failure) {
      if (wasNeverSent(failure)) return;
      until.delete(digest);
      until.set(digest, now() + ACCEPTED_FOR_MS);
      for (const [oldest, end] of until) {
        if (end > now()) break;
        until.delete(oldest);
      }
    },
    check(digest) {
      if ((until.get(digest) ?? 0) <= now()) return;
      const message =
        "this content was being removed, and the object store did not say whether it is done; try again later";
      throw new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "60" } });
    },
  };
}

function wasNeverSent(failure: unknown): boolean {
  if (!(failure instanceof S3ConnectionError)) return false;
  const cause: unknown = failure.cause instanceof AggregateError ? failure.cause.errors[0] : failure.cause;
  return cause instanceof Error && "code" in cause && NEVER_SENT.has(String(cause.code));
}
