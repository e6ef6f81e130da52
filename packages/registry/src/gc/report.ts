import type { DoomedContent } from "@cache-registry/storage/metadata-store/metadata-store";

/** Things that a report names; what is more only counts. */
export const MAX_NAMED = 1_000;

/** What one pass did, or (`dryRun`) would do now. Sizes in bytes, times as RFC 3339. */
export type CollectionReport = {
  readonly dryRun: boolean;
  readonly startedAt: string;
  finishedAt: string;
  removedManifests: number;
  removedBlobs: number;
  freedBytes: number;
  purgedUploads: number;
  removedOrphans: number;
  /** Reviews that failed and are tried again. */
  failedReviews: number;
  /** What went, and the event that made it a candidate; the first thousand. */
  readonly removed: DoomedContent[];
  /** Not everything is named, or (dry run) not everything was looked at. */
  truncated: boolean;
};

export function newReport(dryRun = false): CollectionReport {
  const startedAt = new Date().toISOString();
  return {
    dryRun,
    startedAt,
    finishedAt: startedAt,
    removedManifests: 0,
    removedBlobs: 0,
    freedBytes: 0,
    purgedUploads: 0,
    removedOrphans: 0,
    failedReviews: 0,
    removed: [],
    truncated: false,
  };
}

export function note(report: CollectionReport, content: DoomedContent): void {
  if (content.kind === "manifest") report.removedManifests += 1;
  if (content.kind === "blob") {
    report.removedBlobs += 1;
    report.freedBytes += content.size;
  }
  if (report.removed.length < MAX_NAMED) report.removed.push(content);
  else report.truncated = true;
}

export function finish(report: CollectionReport): CollectionReport {
  report.finishedAt = new Date().toISOString();
  return report;
}
