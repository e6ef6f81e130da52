/** Bytes of cached content, and what is on its way and will be. */
export type CachedBytes = { readonly stored: number; readonly expected: number };

/** Bytes of the volume that holds the store; `missing` of what is on its way will be written yet. */
export type DiskBytes = { readonly total: number; readonly free: number; readonly missing: number };

export type Watermarks = {
  /** Eviction begins above the first and ends at the second, as parts of the quota. */
  readonly quota: { readonly high: number; readonly low: number };
  /** Eviction begins with less free than the first and ends with the second, as parts of the volume, and in bytes at most. */
  readonly free: {
    readonly low: { readonly part: number; readonly most: number };
    readonly high: { readonly part: number; readonly most: number };
  };
};

const GiB = 2 ** 30;

export const WATERMARKS: Watermarks = {
  quota: { high: 0.95, low: 0.85 },
  free: { low: { part: 0.05, most: 2 * GiB }, high: { part: 0.1, most: 4 * GiB } },
};

/** Without a quota of its own the cache takes this part of its volume. */
export const PART_OF_VOLUME = 0.85;

/** What must stay free of a volume before eviction begins, and what it makes free. Bytes. */
export function freeMarks(total: number, reserve: number): { readonly low: number; readonly high: number } {
  const { low, high } = WATERMARKS.free;
  // A reserve that cannot be made anew keeps the disk full for good.
  return {
    low: Math.max(2 * reserve, Math.min(low.part * total, low.most)),
    high: Math.max(3 * reserve, Math.min(high.part * total, high.most)),
  };
}

export type Levels = {
  readonly cached: CachedBytes;
  /** Undefined: no limit. */
  readonly quota: number | undefined;
  readonly disk: DiskBytes | undefined;
  readonly reserve: number;
};

export type Excess = {
  /** Why there is too much; undefined while there is not. */
  readonly reason: "quota" | "disk" | undefined;
  /** Bytes above the mark. */
  readonly bytes: number;
};

/** How much is above the high mark (where eviction begins) or the low one (where it ends). Pure. */
export function excessOver(mark: "high" | "low", { cached, quota, disk, reserve }: Levels): Excess {
  const overQuota =
    quota === undefined ? 0 : cached.stored + cached.expected - Math.floor(quota * WATERMARKS.quota[mark]);
  const marks = disk && freeMarks(disk.total, reserve);
  const shortOfDisk = disk && marks ? (mark === "high" ? marks.low : marks.high) - (disk.free - disk.missing) : 0;
  const bytes = Math.max(0, overQuota, shortOfDisk);
  if (bytes === 0) return { reason: undefined, bytes };
  return { reason: overQuota >= shortOfDisk ? "quota" : "disk", bytes };
}
