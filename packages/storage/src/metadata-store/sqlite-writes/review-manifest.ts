import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ReviewRules } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Manifests } from "./manifests.ts";
import { MANIFEST_PROTECTED } from "./protection.ts";
import type { ReviewQueue } from "./queue.ts";
import type { Repositories } from "./repositories.ts";

export type Candidate = {
  readonly upstream: string | null;
  readonly putAt: number;
  readonly pulledAt: number | null;
  readonly unreferencedAt: number | null;
  /** 1 when its subject was beside it once: it goes the way of the subject. */
  readonly subjectSeen: number;
};

/**
 * When an unprotected manifest is no longer needed, in milliseconds; never, when the rules keep it whatever the time.
 * Pure, so that the sweep and the review cannot disagree.
 */
export function removableAt(candidate: Candidate, rules: ReviewRules): number {
  const { upstream, putAt, pulledAt, unreferencedAt, subjectSeen } = candidate;
  const lostAt = Math.max(putAt, unreferencedAt ?? 0);
  // A client that has just read it may be about to refer to it.
  const afterGrace = Math.max(lostAt, pulledAt ?? 0) + rules.grace;
  if (upstream === null) {
    if (subjectSeen === 1) return afterGrace;
    if (rules.untaggedLocal === "keep") return Number.POSITIVE_INFINITY;
    return Math.max(afterGrace, lostAt + rules.untaggedLocal);
  }
  // Pulled by digest: in use although nothing names it.
  const pulledSince = pulledAt !== null && (unreferencedAt === null || pulledAt > unreferencedAt);
  return pulledSince ? Math.max(afterGrace, pulledAt + rules.unusedFor) : afterGrace;
}

type Deps = { readonly repositories: Repositories; readonly manifests: Manifests; readonly queue: ReviewQueue };

export function createManifestReview(db: DatabaseSync, { repositories, manifests, queue }: Deps) {
  const find = prepare<Omit<Candidate, "upstream"> & { protected: number }>(
    db,
    `SELECT put_at AS putAt, pulled_at AS pulledAt, unreferenced_at AS unreferencedAt, subject_seen AS subjectSeen,
       ${MANIFEST_PROTECTED} AS protected
     FROM manifests AS m WHERE m.repository_id = ? AND m.digest = ?`,
  );

  return function reviewManifest(
    task: { readonly repository: string; readonly digest: Digest },
    rules: ReviewRules,
  ): "removed" | "kept" | "postponed" {
    const { digest } = task;
    const repository = repositories.find(task.repository);
    if (!repository) return "kept";
    const row = find.get(repository.id, digest);
    const at = row && row.protected === 0 ? removableAt({ ...row, upstream: repository.upstream }, rules) : undefined;
    if (!row || at === undefined || at === Number.POSITIVE_INFINITY) {
      queue.dropManifest(repository.id, digest);
      return "kept";
    }
    if (at > rules.now) {
      queue.postpone(repository.id, digest, at);
      return "postponed";
    }
    // Its grace is over, and its children were held by nothing else: they need not wait for another.
    const unreferencedAt = row.unreferencedAt ?? row.putAt;
    manifests.remove(repository.id, digest, { event: "manifest_deleted", unreferencedAt, reviewAt: rules.now });
    return "removed";
  };
}
