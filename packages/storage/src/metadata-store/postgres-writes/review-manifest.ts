import type { Digest } from "@cache-registry/core/digest";
import type { ReviewRules } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { MANIFEST_PROTECTED } from "../protection-sql.ts";
import { type Candidate, removableAt } from "../removable-at.ts";
import { removeManifest } from "./manifests.ts";
import { dropManifestReview, postpone } from "./queue.ts";
import { lockRepository } from "./repositories.ts";

const FIND = sql<Omit<Candidate, "upstream"> & { protected: boolean }>(
  `SELECT m.put_at AS "putAt", m.pulled_at AS "pulledAt", m.unreferenced_at AS "unreferencedAt",
     m.subject_seen AS "subjectSeen", ${MANIFEST_PROTECTED} AS protected
   FROM manifests AS m WHERE m.repository_id = $1 AND m.digest = $2`,
);

export async function reviewManifest(
  session: Session,
  task: { readonly repository: string; readonly digest: Digest },
  rules: ReviewRules,
): Promise<"removed" | "kept" | "postponed"> {
  const { digest } = task;
  const repository = await lockRepository(session, task.repository);
  if (!repository) return "kept";
  const row = await session.row(FIND, repository.id, digest);
  const at = row && !row.protected ? removableAt({ ...row, upstream: repository.upstream }, rules) : undefined;
  if (!row || at === undefined || at === Number.POSITIVE_INFINITY) {
    await dropManifestReview(session, repository.id, digest);
    return "kept";
  }
  if (at > rules.now) {
    await postpone(session, repository.id, digest, at);
    return "postponed";
  }
  // Its grace is over, and its children were held by nothing else: they need not wait for another.
  const unreferencedAt = row.unreferencedAt ?? row.putAt;
  const how = { event: "manifest_deleted", unreferencedAt, reviewAt: rules.now } as const;
  await removeManifest(session, repository.id, digest, how);
  return "removed";
}
