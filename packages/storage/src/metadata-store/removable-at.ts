import type { ReviewRules } from "./metadata-store.ts";

export type Candidate = {
  readonly upstream: string | null;
  readonly putAt: number;
  readonly pulledAt: number | null;
  readonly unreferencedAt: number | null;
  /** True (1 in SQLite) when its subject was beside it once: it goes the way of the subject. */
  readonly subjectSeen: number | boolean;
};

/**
 * When an unprotected manifest is no longer needed, in milliseconds; never, when the rules keep it whatever the time.
 * Pure, so that the sweep and the review cannot disagree, nor two drivers.
 */
export function removableAt(candidate: Candidate, rules: ReviewRules): number {
  const { upstream, putAt, pulledAt, unreferencedAt, subjectSeen } = candidate;
  const lostAt = Math.max(putAt, unreferencedAt ?? 0);
  // A client that has just read it may be about to refer to it.
  const afterGrace = Math.max(lostAt, pulledAt ?? 0) + rules.grace;
  if (upstream === null) {
    if (subjectSeen) return afterGrace;
    if (rules.untaggedLocal === "keep") return Number.POSITIVE_INFINITY;
    return Math.max(afterGrace, lostAt + rules.untaggedLocal);
  }
  // Pulled by digest: in use although nothing names it.
  const pulledSince = pulledAt !== null && (unreferencedAt === null || pulledAt > unreferencedAt);
  return pulledSince ? Math.max(afterGrace, pulledAt + rules.unusedFor) : afterGrace;
}
