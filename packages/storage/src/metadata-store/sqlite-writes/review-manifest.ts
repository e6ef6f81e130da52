import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { ReviewRules } from "../metadata-store.ts";
import { MANIFEST_PROTECTED } from "../protection-sql.ts";
import { type Candidate, removableAt } from "../removable-at.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Manifests } from "./manifests.ts";
import type { ReviewQueue } from "./queue.ts";
import type { Repositories } from "./repositories.ts";

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
