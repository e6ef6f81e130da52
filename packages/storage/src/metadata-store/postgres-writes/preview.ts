import type { DoomedContent, ReviewRules } from "../metadata-store.ts";
import { Rollback } from "../postgres/database.ts";
import { isLockTimeout } from "../postgres/errors.ts";
import { DUE, taskOf } from "../postgres/reads.ts";
import { type Session, sql } from "../postgres/statement.ts";
import { beginDeletion, finishDeletion } from "./blobs.ts";
import { reviewManifest } from "./review-manifest.ts";
import { sweep } from "./sweep.ts";

/** How long other writes are held up at most, in milliseconds. */
const PATIENCE_MS = 2_000;
const PAGE = 500;

// Shorter than the server's deadlock_timeout: should two wait for each other, the preview is the one that gives up.
const IMPATIENT = sql("SELECT set_config('lock_timeout', '500ms', true)");
// Everyone who writes a repository waits, so that the rows need not be locked in an order that the pass does not know.
const ALONE = sql("LOCK TABLE repositories IN EXCLUSIVE MODE");

type Preview = { readonly doomed: readonly DoomedContent[]; readonly truncated: boolean };

/** The collection itself, in a transaction that is rolled back: no second opinion that could differ. */
export async function previewCollection(
  session: Session,
  { rules, limit, grace }: { readonly rules: ReviewRules; readonly limit: number; readonly grace: number },
): Promise<Preview> {
  const deadline = performance.now() + PATIENCE_MS;
  const doomed: DoomedContent[] = [];
  const enough = () => doomed.length >= limit || performance.now() > deadline;

  async function review(row: Parameters<typeof taskOf>[0]): Promise<void> {
    const task = taskOf(row);
    if (task.kind === "manifest") {
      if ((await reviewManifest(session, task, rules)) === "removed") doomed.push(task);
      return;
    }
    const blob = await beginDeletion(session, task.digest, rules);
    if (!blob) return;
    await finishDeletion(session, task.digest, blob.generation);
    doomed.push({ ...task, size: blob.size });
  }

  /** True when it came to its end. */
  async function collect(): Promise<boolean> {
    await session.run(IMPATIENT);
    await session.run(ALONE);
    const onTag = (tag: { readonly repository: string; readonly name: string }) =>
      void doomed.push({ kind: "tag", repository: tag.repository, tag: tag.name, reason: "unused" });
    for (let cursor: string | null = null; ; ) {
      cursor = await sweep(session, cursor, { rules, limit: PAGE, grace, onTag });
      if (cursor === null) break;
      if (enough()) return false;
    }
    for (;;) {
      const tasks = await session.rows(DUE, rules.now, PAGE);
      if (tasks.length === 0) return true;
      for (const task of tasks) {
        if (enough()) return false;
        await review(task);
      }
    }
  }

  const whole = await collect().catch((error: unknown) => {
    if (isLockTimeout(error)) return false;
    throw error;
  });
  throw new Rollback<Preview>({ doomed: doomed.slice(0, limit), truncated: !whole });
}
