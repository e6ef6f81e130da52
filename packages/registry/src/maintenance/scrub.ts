import { messageOf } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { Finding, HealAction, HealBlob } from "./heal-blob.ts";
import { createPace, type Pace } from "./pace.ts";
import { verifyBlob } from "./verify-blob.ts";

export type ScrubOptions = {
  /** Bytes read per second at most; undefined: as fast as it goes. */
  readonly rate?: number | undefined;
  /** Continue behind this digest. */
  readonly after?: string | undefined;
};

/** Sizes in bytes, times as RFC 3339. */
export type ScrubStatus = {
  readonly state: "idle" | "running" | "done" | "cancelled" | "failed";
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** What the store holds: where `checked` is going, apart from what comes and goes meanwhile. */
  readonly blobs: number;
  readonly bytes: number;
  readonly checked: number;
  readonly checkedBytes: number;
  /** The last digest that was dealt with: a later run may go on behind it. */
  readonly position: string | null;
  readonly found: Readonly<Record<HealAction, number>>;
  /** The first thousand. */
  readonly findings: readonly Finding[];
  readonly error?: string;
};

/** One scrub at a time: every digest at rest is verified, and what is damaged is healed. */
export type Scrub = {
  /** Starts it, or joins the one that is running. */
  start(options: ScrubOptions): ScrubStatus;
  status(): ScrubStatus;
  /** Resolves when the running one has ended, however. */
  finished(): Promise<ScrubStatus>;
  /** Stops after what is being read now. */
  cancel(): Promise<ScrubStatus>;
};

export type ScrubDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly heal: HealBlob;
  readonly logger: Logger;
  readonly metrics?: Metrics;
};

const PAGE = 200;
const MAX_FINDINGS = 1_000;
const NOTHING_FOUND = { restored: 0, refetched: 0, forgotten: 0, lost: 0 };

type Run = { -readonly [Key in keyof ScrubStatus]: ScrubStatus[Key] } & {
  findings: Finding[];
  found: Record<HealAction, number>;
};

function newRun(state: ScrubStatus["state"], position: string | null): Run {
  return {
    state,
    startedAt: state === "idle" ? null : new Date().toISOString(),
    finishedAt: null,
    blobs: 0,
    bytes: 0,
    checked: 0,
    checkedBytes: 0,
    position,
    found: { ...NOTHING_FOUND },
    findings: [],
  };
}

export function createScrub({ blobs, metadata, heal, logger, metrics }: ScrubDeps): Scrub {
  let run = newRun("idle", null);
  let running: Promise<void> = Promise.resolve();
  let stopping = new AbortController();
  const checkedBytes = metrics?.counter({
    name: "scrub_checked_bytes_total",
    help: "Bytes at rest that were verified",
  });
  const findings = metrics?.counter({
    name: "scrub_findings_total",
    help: "Blobs at rest that were damaged or missing, by what became of them",
    labels: ["action"],
  });

  async function check(blob: Parameters<HealBlob>[0], pace: Pace | undefined, signal: AbortSignal): Promise<void> {
    if ((await verifyBlob(blobs, blob, { pace, signal })) === "good") return;
    const finding = await heal(blob);
    if (!finding) return;
    run.found[finding.action] += 1;
    findings?.inc({ action: finding.action });
    if (run.findings.length < MAX_FINDINGS) run.findings.push(finding);
  }

  async function checkAll({ rate }: ScrubOptions, signal: AbortSignal): Promise<void> {
    const pace = rate === undefined ? undefined : createPace(rate);
    Object.assign(run, await totals(metadata));
    for (;;) {
      const page = await metadata.listBlobs({ last: run.position ?? "", limit: PAGE });
      if (page.length === 0) return;
      for (const blob of page) {
        signal.throwIfAborted();
        await check(blob, pace, signal);
        run.position = blob.digest;
        run.checked += 1;
        run.checkedBytes += blob.size;
        checkedBytes?.inc(blob.size);
      }
    }
  }

  async function work(options: ScrubOptions, signal: AbortSignal): Promise<void> {
    try {
      await checkAll(options, signal);
      run.state = "done";
    } catch (err) {
      run.state = signal.aborted ? "cancelled" : "failed";
      if (!signal.aborted) {
        run.error = messageOf(err);
        logger.error({ err, position: run.position }, "scrub failed");
      }
    }
    run.finishedAt = new Date().toISOString();
    const { state, checked, checkedBytes: bytes, found, position } = run;
    logger.info({ state, checked, bytes, found, position }, "scrub ended");
  }

  const status = (): ScrubStatus => ({ ...run, found: { ...run.found }, findings: [...run.findings] });

  return {
    start(options) {
      if (run.state === "running") return status();
      run = newRun("running", options.after ?? null);
      stopping = new AbortController();
      running = work(options, stopping.signal);
      return status();
    },
    status,
    async finished() {
      await running;
      return status();
    },
    async cancel() {
      stopping.abort(new Error("the scrub was cancelled"));
      await running;
      return status();
    },
  };
}

async function totals(metadata: MetadataStore): Promise<Pick<ScrubStatus, "blobs" | "bytes">> {
  const { blobs, bytes } = await metadata.usage();
  return { blobs, bytes };
}
