import { printByteSize } from "@cache-registry/core/byte-size";
import { CodedError } from "@cache-registry/core/errors";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FetchUnderWay } from "../pull-through/blob-source.ts";
import type { Disk } from "./disk.ts";
import { type Excess, excessOver, type Levels, PART_OF_VOLUME, WATERMARKS } from "./watermarks.ts";

/** Room that a warm-up was promised. It shrinks as its bytes arrive, so that they do not count twice. Bytes. */
export type Room = { arrived(bytes: number): void; release(): void };

/** What cached content takes, and what it may take. */
export type Space = {
  /** Bytes; undefined: no limit. Known once the store is started. */
  quota(): number | undefined;
  levels(): Promise<Levels>;
  /** How much is above the mark, with what is being fetched for clients and what warm-ups were promised. */
  excess(mark: "high" | "low"): Promise<Excess>;
  /**
   * Room for a warm-up, made by evicting what nobody has pinned.
   * @throws NoSpaceError when that is not enough
   */
  admit(bytes: number): Promise<Room>;
};

/** A warm-up found no room, and evicts nothing that is pinned: it waits. */
export class NoSpaceError extends CodedError {
  constructor(needed: number, quota: number | undefined) {
    const limit = quota === undefined ? "the disk" : `${printByteSize(quota)} (storage.maxSize)`;
    super(
      "INSUFFICIENT_STORAGE",
      `no space: ${printByteSize(needed)} more do not fit into ${limit} beside what is pinned`,
    );
  }
}

export type SpaceDeps = {
  readonly metadata: Pick<MetadataStore, "usage" | "blob">;
  readonly disk: Pick<Disk, "state" | "look">;
  /** `storage.maxSize` in bytes. */
  readonly maxSize: number | undefined;
  readonly underWay: () => readonly FetchUnderWay[];
  /** Evicts what is not pinned until there is nothing above the high mark, or nothing left to evict. */
  readonly relieve: () => Promise<void>;
};

/** Room that is made for a fetch before its bytes are here, at least; then as much again as has come. */
const AHEAD_BYTES = 256 * 2 ** 20;

/**
 * Bytes of a client's fetch that room is made for now. What an upstream announces costs it nothing: on its word alone the whole
 * cache would go, and for what never fits in vain.
 */
function comingOf({ size, received }: Pick<FetchUnderWay, "size" | "received">, quota: number | undefined): number {
  if (size === undefined || (quota !== undefined && size > quota)) return 0;
  return Math.min(Math.max(0, size - received), Math.max(AHEAD_BYTES, received));
}

export function createSpace({ metadata, disk, maxSize, underWay, relieve }: SpaceDeps): Space {
  const promised = new Set<{ bytes: number }>();
  let admitting: Promise<unknown> = Promise.resolve();

  function quota(): number | undefined {
    if (maxSize !== undefined) return maxSize;
    return disk.state && Math.floor(PART_OF_VOLUME * disk.state.total);
  }

  async function levels(): Promise<Levels> {
    const { cachedBytes } = await metadata.usage();
    const state = await disk.look();
    let expected = 0;
    let missing = 0;
    // What a warm-up fetches is promised already.
    for (const { digest, size, received, foreground } of underWay()) {
      // At its end it is stored for a moment before it is gone from the list.
      if (!foreground || (await metadata.blob(digest))) continue;
      const coming = comingOf({ size, received }, quota());
      expected += received + coming;
      missing += coming;
    }
    for (const { bytes } of promised) {
      expected += bytes;
      missing += bytes;
    }
    return {
      cached: { stored: cachedBytes, expected },
      quota: quota(),
      disk: state && { total: state.total, free: state.free, missing },
      reserve: state?.reserve ?? 0,
    };
  }

  async function excess(mark: "high" | "low"): Promise<Excess> {
    return excessOver(mark, await levels());
  }

  async function promise(bytes: number): Promise<Room> {
    const limit = quota();
    const room = { bytes };
    // What never fits evicts nothing.
    if (limit !== undefined && bytes > limit * WATERMARKS.quota.high) throw new NoSpaceError(bytes, limit);
    promised.add(room);
    try {
      if ((await excess("high")).bytes > 0) await relieve();
      if ((await excess("high")).bytes > 0) throw new NoSpaceError(bytes, limit);
    } catch (error) {
      // Also when nobody could look: room that is kept for nobody would be made by eviction, for ever.
      promised.delete(room);
      throw error;
    }
    return {
      arrived(count) {
        room.bytes = Math.max(0, room.bytes - count);
      },
      release() {
        promised.delete(room);
      },
    };
  }

  return {
    quota,
    levels,
    excess,
    /** One at a time: two that are looked at together might both be let in where there is room for one. */
    admit(bytes) {
      const mine = admitting.then(() => promise(bytes));
      admitting = mine.catch(() => undefined);
      return mine;
    },
  };
}
