import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { DoomedContent, ReviewRules } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";
import type { Blobs } from "./blobs.ts";
import type { ReviewQueue } from "./queue.ts";
import type { createManifestReview } from "./review-manifest.ts";
import { createSweep } from "./sweep.ts";
import type { Tags } from "./tags.ts";

/** How long other writes are held up at most, in milliseconds. */
const PATIENCE_MS = 2_000;
const PAGE = 500;

type Deps = {
  readonly tags: Tags;
  readonly queue: ReviewQueue;
  readonly blobs: Blobs;
  readonly reviewManifest: ReturnType<typeof createManifestReview>;
};

/** The collection itself, in a transaction that is rolled back: no second opinion that could differ. */
export function createPreview(db: DatabaseSync, { tags, queue, blobs, reviewManifest }: Deps) {
  const due = prepare<{ repository: string | null; digest: Digest; reason: string }>(
    db,
    `SELECT r.name AS repository, q.digest, q.event AS reason FROM reviews AS q
     LEFT JOIN repositories AS r ON r.id = q.repository_id
     WHERE q.review_after <= ? ORDER BY q.review_after LIMIT ${PAGE}`,
  );
  const repositoryName = prepare<{ name: string }>(db, "SELECT name FROM repositories WHERE id = ?");
  let doomed: DoomedContent[] = [];
  const sweep = createSweep(db, {
    tags,
    queue,
    onTag({ repositoryId, name }) {
      const repository = repositoryName.get(repositoryId)?.name ?? "";
      doomed.push({ kind: "tag", repository, tag: name, reason: "unused" });
    },
  });

  function review({ repository, digest, reason }: ReturnType<typeof due.all>[number], rules: ReviewRules): void {
    if (repository !== null) {
      const removed = reviewManifest({ repository, digest }, rules) === "removed";
      if (removed) doomed.push({ kind: "manifest", repository, digest, reason });
      return;
    }
    const blob = blobs.beginDeletion(digest, rules);
    if (!blob) return;
    blobs.finishDeletion(digest, blob.generation);
    doomed.push({ kind: "blob", digest, size: blob.size, reason });
  }

  /** True when it came to its end. */
  function collect(rules: ReviewRules, enough: () => boolean): boolean {
    for (let cursor: string | null = null; ; ) {
      cursor = sweep(cursor, rules, PAGE);
      if (cursor === null) break;
      if (enough()) return false;
    }
    for (;;) {
      const tasks = due.all(rules.now);
      if (tasks.length === 0) return true;
      for (const task of tasks) {
        if (enough()) return false;
        review(task, rules);
      }
    }
  }

  return function previewCollection(
    rules: ReviewRules,
    limit: number,
  ): { readonly doomed: readonly DoomedContent[]; readonly truncated: boolean } {
    const deadline = performance.now() + PATIENCE_MS;
    doomed = [];
    db.exec("SAVEPOINT preview");
    try {
      const whole = collect(rules, () => doomed.length >= limit || performance.now() > deadline);
      return { doomed: doomed.slice(0, limit), truncated: !whole };
    } finally {
      doomed = [];
      // A full disk has ended the whole transaction already.
      if (db.isTransaction) db.exec("ROLLBACK TO preview; RELEASE preview");
    }
  };
}
