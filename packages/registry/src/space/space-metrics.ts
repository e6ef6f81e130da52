import { printByteSize } from "@cache-registry/core/byte-size";
import type { Health } from "@cache-registry/runtime/health";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { Disk } from "./disk.ts";
import { freeMarks } from "./watermarks.ts";

export type SpaceMetrics = {
  evicted(why: { readonly reason: string; readonly pinned: boolean }, bytes: number): void;
  /** Bytes given back in other ways, by what they were. */
  freed(what: "loose", bytes: number): void;
};

export function createSpaceMetrics(metrics: Metrics): SpaceMetrics {
  const labels = ["reason", "pinned"] as const;
  const evictions = metrics.counter({ name: "evictions_total", help: "Manifests evicted, by what was short", labels });
  const bytes = metrics.counter({ name: "evicted_bytes_total", help: "Bytes that evictions gave back", labels });
  const loose = metrics.counter({
    name: "evicted_loose_bytes_total",
    help: "Bytes of cached blobs without a manifest that were given back before the end of their grace",
  });
  return {
    evicted({ reason, pinned }, count) {
      evictions.inc({ reason, pinned: String(pinned) });
      bytes.inc({ reason, pinned: String(pinned) }, count);
    },
    freed: (_what, count) => loose.inc(count),
  };
}

type Observed = {
  readonly metadata: Pick<MetadataStore, "usage" | "reviewBacklog">;
  readonly disk: Disk;
  readonly quota: () => number | undefined;
};

/** Gauges, set at each scrape, and what `/readyz?verbose` says of the disk. Pulls go on without room: it is only a warning. */
export function observeSpace(
  { metadata, disk, quota }: Observed,
  { metrics, health }: { metrics: Metrics; health: Health },
) {
  metrics.gauge({
    name: "store_bytes",
    help: "Bytes of content, by where it came from",
    labels: ["kind"],
    async collect(gauge) {
      const { bytes, cachedBytes } = await metadata.usage();
      gauge.set({ kind: "cached" }, cachedBytes);
      gauge.set({ kind: "pushed" }, bytes - cachedBytes);
    },
  });
  metrics.gauge({
    name: "cache_quota_bytes",
    help: "What cached content may take, +Inf without a limit",
    collect: (gauge) => gauge.set(quota() ?? Number.POSITIVE_INFINITY),
  });
  metrics.gauge({
    name: "gc_backlog",
    help: "Manifests and blobs that wait for their review",
    collect: async (gauge) => gauge.set((await metadata.reviewBacklog()).length),
  });
  metrics.gauge({
    name: "gc_oldest_due_seconds",
    help: "For how long the oldest due review has been waiting",
    async collect(gauge) {
      const { nextAt } = await metadata.reviewBacklog();
      gauge.set(nextAt === null ? 0 : Math.max(0, Date.now() - nextAt) / 1_000);
    },
  });
  const ofDisk = (name: string, help: string, value: (state: NonNullable<Disk["state"]>) => number) =>
    metrics.gauge({
      name,
      help,
      collect(gauge) {
        if (disk.state) gauge.set(value(disk.state));
      },
    });
  ofDisk("disk_free_bytes", "Free bytes of the store's volume", ({ free }) => free);
  ofDisk("disk_total_bytes", "Size of the store's volume", ({ total }) => total);
  ofDisk(
    "disk_min_free_bytes",
    "Eviction begins with less free than this",
    ({ total, reserve }) => freeMarks(total, reserve).low,
  );
  ofDisk("disk_full", "1 while nothing can be stored", ({ full }) => (full ? 1 : 0));
  ofDisk("disk_reserve_bytes", "What the reserve holds; 0 while it is freed", ({ reserved }) => reserved);
  health.addCheck({
    name: "disk",
    warnOnly: true,
    check: () =>
      disk.full
        ? `full (${printByteSize(disk.state?.free ?? 0)} free): pulls are passed on from upstreams, pushes are refused`
        : undefined,
  });
}
