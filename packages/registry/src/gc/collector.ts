import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import type { MetadataStore, ReviewRules, ReviewTask } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";
import type { UploadSessions } from "../push/upload-sessions.ts";
import type { Reclaim } from "./reclaim.ts";
import { type CollectionReport, finish, newReport, note } from "./report.ts";

/** How often due reviews are looked for, in milliseconds. */
const POLL_INTERVAL_MS = 1_000;
const BATCH = 100;
/** So that reviews share transactions, and never all threads for files. */
const AT_ONCE = 3;

/** A review that failed comes again after this, in milliseconds: it must not be in the way of the others. */
const RETRY_MS = 30_000;
/** Things that a dry run looks for at most. */
const MAX_PREVIEWED = 20_000;

/** Online garbage collection: no read-only mode, no restart, no separate job. */
export type Collector = {
  start(): Promise<void>;
  /** Also ends a pass that is under way, before its time. */
  stop(): Promise<void>;
  /** Everything that is due now, plus a sweep for what no event announced. Joins a pass that is running. */
  fullPass(): Promise<CollectionReport>;
  /** Gives up upload sessions that nobody continues; every replica has its own. */
  purgeUploads(): Promise<number>;
  /** What a full pass would do now; nothing of it is done. */
  preview(): Promise<CollectionReport>;
  /** Of the last full pass or preview of this process. */
  lastReport(): CollectionReport | undefined;
};

export type CollectorDeps = {
  readonly metadata: MetadataStore;
  readonly reclaim: Reclaim;
  readonly uploads: UploadSessions;
  readonly pulls: PullRecorder;
  readonly rules: Omit<ReviewRules, "now">;
  /** Is it this replica that collects? Default: always. */
  readonly leads?: () => boolean;
  /** Upload sessions that nobody continued for so many milliseconds are given up. */
  readonly uploadIdle: number;
  /** Milliseconds until a review that failed is tried again. */
  readonly retryAfter?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

export function createCollector(deps: CollectorDeps): Collector {
  const { metadata, reclaim, logger, leads = () => true, retryAfter = RETRY_MS } = deps;
  const stopping = new AbortController();
  const passes = createSingleFlight<CollectionReport>();
  const removed = deps.metrics.counter({
    name: "gc_removed_total",
    help: "Objects removed by the collector",
    labels: ["kind"],
  });
  const freed = deps.metrics.counter({ name: "gc_freed_bytes_total", help: "Bytes given back by the collector" });
  let loop: Promise<void> = Promise.resolve();
  let last: CollectionReport | undefined;

  function rulesNow(): ReviewRules {
    return { ...deps.rules, now: Date.now() };
  }

  async function review(task: ReviewTask, report: CollectionReport): Promise<void> {
    const { digest, reason } = task;
    if (task.kind === "manifest") {
      const { repository } = task;
      // What was pulled a moment ago must count before anything is decided.
      await deps.pulls.flush();
      if ((await metadata.reviewManifest({ repository, digest }, rulesNow())) !== "removed") return;
      note(report, { kind: "manifest", repository, digest, reason });
      removed.inc({ kind: "manifest" });
      logger.info({ repository, digest, reason }, "manifest collected");
      return;
    }
    const size = await reclaim.blob(digest, rulesNow());
    if (size === undefined) return;
    note(report, { kind: "blob", digest, size, reason });
    removed.inc({ kind: "blob" });
    freed.inc(size);
    logger.info({ digest, size, reason }, "blob collected");
  }

  /** Works until nothing is due: removing an index makes its children due, removing those makes their layers due. */
  async function reviewDue(report: CollectionReport): Promise<void> {
    const failed = new Set<string>();
    while (!stopping.signal.aborted) {
      const due = await metadata.dueReviews(Date.now(), BATCH);
      const tasks = due.filter(({ digest }) => !failed.has(digest));
      if (tasks.length === 0) return;
      const rest = tasks.values();
      const work = async () => {
        for (const task of rest) {
          await review(task, report).catch(async (err: unknown) => {
            failed.add(task.digest);
            report.failedReviews += 1;
            logger.error({ err, task }, "review failed; it is tried again");
            await metadata.postponeReview(task, Date.now() + retryAfter);
          });
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    }
  }

  async function runLoop(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (leads()) {
        await reviewDue(newReport()).catch((err: unknown) =>
          logger.error({ err }, "collection failed; it is tried again"),
        );
      }
      await sleep(POLL_INTERVAL_MS, stopping.signal).catch(() => undefined);
    }
  }

  async function sweep(): Promise<void> {
    let cursor: string | null = null;
    do {
      cursor = await metadata.sweep(cursor, rulesNow(), 500);
    } while (cursor !== null && !stopping.signal.aborted);
  }

  const purgeUploads = () => deps.uploads.purge(Date.now() - deps.uploadIdle);

  return {
    purgeUploads,
    async start() {
      // What cannot be removed now stays due; it is no reason not to serve.
      const finishing = leads() ? reclaim.finishInterrupted() : Promise.resolve();
      await finishing.catch((err: unknown) => logger.error({ err }, "interrupted deletions are left for later"));
      loop = runLoop();
    },
    async stop() {
      stopping.abort();
      await loop;
    },
    fullPass: () =>
      passes.run("full", async () => {
        const report = newReport();
        report.purgedUploads = await purgeUploads();
        report.removedOrphans = await reclaim.orphans({ signal: stopping.signal });
        await deps.pulls.flush();
        await sweep();
        await reviewDue(report);
        last = finish(report);
        // The names were logged one by one.
        logger.info({ report: { ...report, removed: undefined } }, "full collection pass done");
        return report;
      }),
    preview: () =>
      passes.run("preview", async () => {
        const report = newReport(true);
        await deps.pulls.flush();
        const { doomed, truncated } = await metadata.previewCollection(rulesNow(), MAX_PREVIEWED);
        for (const content of doomed) note(report, content);
        report.truncated ||= truncated;
        report.purgedUploads = (await metadata.idleUploads(Date.now() - deps.uploadIdle, MAX_PREVIEWED)).length;
        report.removedOrphans = await reclaim.orphans({ dryRun: true, signal: stopping.signal });
        last = finish(report);
        return report;
      }),
    lastReport: () => last,
  };
}
