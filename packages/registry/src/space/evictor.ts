import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import { createLimiter } from "@cache-registry/runtime/limiter";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Eviction, EvictionRules } from "@cache-registry/storage/metadata-store/eviction-store";
import type { MetadataStore, ReviewRules } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";
import type { Reclaim } from "../gc/reclaim.ts";
import type { FetchUnderWay } from "../pull-through/blob-source.ts";
import type { Disk } from "./disk.ts";
import type { SpaceMetrics } from "./space-metrics.ts";
import type { Excess } from "./watermarks.ts";

const POLL_INTERVAL_MS = 1_000;
/** After a walk that found nothing more to evict: how long the next one may wait, in milliseconds. */
const REST_MS = 5_000;
/** Manifests that one step looks at. */
const STEP = 100;
const BLOBS_AT_ONCE = 4;
/** Loose blobs that are looked at in one go. */
const LOOSE = 500;
/** What was pulled or asked for a moment ago stays: a client asks for a manifest, then for its blobs. Milliseconds. */
const RECENT_MS = 10_000;
/** On a disk that is full although its volume has room (a user's quota, no inodes) this many reserves are freed. */
const RESERVES_WHEN_FULL = 3;

/** Makes room: least recently used content goes, cached content only. */
export type Evictor = {
  start(): void;
  stop(): Promise<void>;
  /** Evicts now what is not pinned, down to the high mark. Joins nothing: its own walk, one at a time. */
  relieve(): Promise<void>;
};

export type EvictorDeps = {
  readonly metadata: Pick<MetadataStore, "evictManifest" | "dueReviews">;
  readonly reclaim: Pick<Reclaim, "blob">;
  readonly pulls: Pick<PullRecorder, "flush">;
  readonly disk: Pick<Disk, "full" | "state">;
  readonly excess: (mark: "high" | "low") => Promise<Excess>;
  readonly underWay: () => readonly FetchUnderWay[];
  readonly rules: Omit<ReviewRules, "now">;
  readonly metrics: SpaceMetrics;
  readonly logger: Logger;
  readonly recent?: number;
  /** How often the levels are looked at, in milliseconds. */
  readonly interval?: number;
  /** After a walk that found nothing, in milliseconds. */
  readonly rest?: number;
  /** Is it this replica that evicts? Default: always. */
  readonly leads?: () => boolean;
};

type Target = {
  readonly mark: "high" | "low";
  /** Bytes to free whatever the levels say. */
  readonly atLeast: number;
};

export function createEvictor(deps: EvictorDeps): Evictor {
  const { metadata, reclaim, excess, underWay, metrics, logger } = deps;
  const { recent = RECENT_MS, interval = POLL_INTERVAL_MS, rest = REST_MS, leads = () => true } = deps;
  const stopping = new AbortController();
  const slots = createLimiter(BLOBS_AT_ONCE);
  let walking: Promise<unknown> = Promise.resolve();
  let loop: Promise<void> = Promise.resolve();
  /** By the clock that never jumps. */
  let restUntil = 0;

  /** Bytes freed of those that nothing needs. What cannot be removed now stays queued for the collector. */
  async function free(digests: readonly Digest[], cachedGrace: number): Promise<number> {
    const rules = (): ReviewRules => ({ ...deps.rules, now: Date.now(), cachedGrace });
    const sizes = await Promise.all(
      digests.map((digest) =>
        slots
          .run(() => reclaim.blob(digest, rules()))
          .catch((err: unknown) => {
            logger.warn({ err, digest }, "evicted bytes are left for later");
            return undefined;
          }),
      ),
    );
    return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  }

  /** Content that no manifest needs goes first, without waiting for the end of its grace. */
  async function freeLoose(): Promise<number> {
    const tasks = await metadata.dueReviews(Date.now() + deps.rules.grace, LOOSE);
    const bytes = await free(
      tasks.flatMap((task) => (task.kind === "blob" ? [task.digest] : [])),
      recent,
    );
    metrics.freed("loose", bytes);
    return bytes;
  }

  async function evict({ repository, digest, pinned, usedAt, blobs }: Eviction, reason: string): Promise<number> {
    // Nobody has used it lately, so nobody is about to: what is counted as evicted must be free.
    const bytes = await free(blobs, 0);
    metrics.evicted({ reason, pinned }, bytes);
    logger.info({ repository, digest, pinned, usedAt: new Date(usedAt), bytes, reason }, "manifest evicted");
    return bytes;
  }

  function evictionRules(pinned: boolean): EvictionRules {
    const now = Date.now();
    // What is being fetched for a client now would only be fetched again.
    return { now, usedBefore: now - recent, pinned, fetching: underWay().map(({ digest }) => digest) };
  }

  /** Walks over the least recently used until the target is met. False when nothing more may go. */
  async function walk(pinned: boolean, { mark, atLeast }: Target): Promise<boolean> {
    let cursor: string | null = null;
    let freed = 0;
    while (!stopping.signal.aborted) {
      const { reason, bytes } = await excess(mark);
      if (bytes === 0 && freed >= atLeast) return true;
      const step: Awaited<ReturnType<MetadataStore["evictManifest"]>> = await metadata.evictManifest(
        cursor,
        evictionRules(pinned),
        STEP,
      );
      if (step.evicted) freed += await evict(step.evicted, reason ?? "disk");
      cursor = step.cursor;
      if (cursor === null) return false;
    }
    return true;
  }

  /** In turn: two walks would look at the same content. */
  function inTurn<Value>(task: () => Promise<Value>): Promise<Value> {
    const mine = walking.then(task);
    walking = mine.catch(() => undefined);
    return mine;
  }

  /** What was pulled a moment ago must count before anything is decided; on a full disk it is not written down. */
  async function flushPulls(): Promise<void> {
    await deps.pulls
      .flush()
      .catch((error: unknown) => logger.warn({ why: messageOf(error) }, "order of eviction is old"));
  }

  async function makeRoom(): Promise<void> {
    const { full, state } = deps.disk;
    const atLeast = full ? RESERVES_WHEN_FULL * (state?.reserve ?? 0) : 0;
    const aboveHigh = (await excess("high")).bytes > 0;
    if (!aboveHigh && !full) return;
    const needed = underWay().some(({ foreground }) => foreground);
    if (performance.now() < restUntil && !(needed && aboveHigh)) return;
    await flushPulls();
    const loose = await freeLoose();
    if (await walk(false, { mark: "low", atLeast: Math.max(0, atLeast - loose) })) return;
    // Only what a client waits for is worth more than what was pinned: a warm-up is not let in.
    const pinnedToo = needed && (await excess("high")).bytes > 0;
    if (pinnedToo && (await walk(true, { mark: "high", atLeast: 0 }))) return;
    restUntil = performance.now() + rest;
  }

  async function runLoop(): Promise<void> {
    while (!stopping.signal.aborted) {
      // The others look only, so that they know of their disk.
      await inTurn<unknown>(leads() ? makeRoom : () => excess("high")).catch((err: unknown) =>
        logger.error({ err }, "eviction failed; it is tried again"),
      );
      await sleep(interval, stopping.signal).catch(() => undefined);
    }
  }

  return {
    start() {
      loop = runLoop();
    },
    async stop() {
      stopping.abort();
      await loop;
    },
    relieve: () =>
      inTurn(async () => {
        await flushPulls();
        await freeLoose();
        await walk(false, { mark: "high", atLeast: 0 });
      }),
  };
}
