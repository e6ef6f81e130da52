import type { Metrics } from "./metrics.ts";

/** DESIGN rule 17: what a stream starts with, and what it grows to. Two buffers each: one is read while one is written. */
export const SMALL_BUFFER_BYTES = 64 * 1024;
export const LARGE_BUFFER_BYTES = 256 * 1024;

const DEFAULT_CAPACITY = 64 * 1024 * 1024;
/** Buffers kept for the next stream; more than that goes back to the system after a burst. */
const MAX_IDLE_BYTES = 16 * 1024 * 1024;

/** The two buffers of one stream. Grow and release only while no read or write of them is in flight. */
export type BufferLease = {
  /** @throws Error after release, since the buffers belong to another stream then */
  readonly buffers: readonly [Buffer, Buffer];
  /** Bytes of each buffer. */
  readonly bufferSize: number;
  /** Swaps to the large buffers while the pool is under half full. True when the buffers are large afterwards. */
  grow(): boolean;
  release(): void;
};

export type BufferPool = {
  /** Undefined when the pool is spent: answer 503 with Retry-After. */
  lease(): BufferLease | undefined;
  /** Bytes. */
  readonly capacity: number;
  /** Bytes leased. */
  readonly inUse: number;
};

export type BufferPoolOptions = {
  /** Bytes for all streams together. */
  readonly capacity?: number;
  readonly metrics?: Metrics;
};

type Pair = readonly [Buffer, Buffer];

export function createBufferPool({ capacity = DEFAULT_CAPACITY, metrics }: BufferPoolOptions = {}): BufferPool {
  const idle = new Map<number, Pair[]>([
    [SMALL_BUFFER_BYTES, []],
    [LARGE_BUFFER_BYTES, []],
  ]);
  const maxIdle = Math.min(MAX_IDLE_BYTES, capacity);
  let idleBytes = 0;
  let inUse = 0;
  const refused = metrics?.counter({
    name: "buffer_pool_refused_total",
    help: "Streams refused because the pool was spent",
  });
  metrics?.gauge({
    name: "buffer_pool_in_use_bytes",
    help: "Bytes of stream buffers in use",
    collect: (gauge) => gauge.set(inUse),
  });
  metrics?.gauge({ name: "buffer_pool_capacity_bytes", help: "Bytes of stream buffers allowed" }).set(capacity);

  /** Idle pairs are dropped until leased and idle bytes together stay within the capacity. */
  function makeRoom(): void {
    for (const [size, pairs] of idle) {
      while (inUse + idleBytes > capacity && pairs.pop()) idleBytes -= 2 * size;
    }
  }

  function take(size: number): Pair {
    inUse += 2 * size;
    const pair = idle.get(size)?.pop();
    if (pair) {
      idleBytes -= 2 * size;
      return pair;
    }
    makeRoom();
    return [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
  }

  function give(pair: Pair): void {
    const bytes = 2 * pair[0].length;
    inUse -= bytes;
    if (idleBytes + bytes > maxIdle) return;
    idle.get(pair[0].length)?.push(pair);
    idleBytes += bytes;
  }

  function mayGrow(): boolean {
    return inUse < capacity / 2 && inUse + 2 * (LARGE_BUFFER_BYTES - SMALL_BUFFER_BYTES) <= capacity;
  }

  function lease(): BufferLease | undefined {
    if (inUse + 2 * SMALL_BUFFER_BYTES > capacity) {
      refused?.inc();
      return undefined;
    }
    let pair: Pair | undefined = take(SMALL_BUFFER_BYTES);
    const held = (): Pair => {
      if (!pair) throw new Error("buffer lease used after its release");
      return pair;
    };
    return {
      get buffers() {
        return held();
      },
      get bufferSize() {
        return held()[0].length;
      },
      grow() {
        const current = held();
        if (current[0].length === LARGE_BUFFER_BYTES) return true;
        if (!mayGrow()) return false;
        give(current);
        pair = take(LARGE_BUFFER_BYTES);
        return true;
      },
      release() {
        if (pair) give(pair);
        pair = undefined;
      },
    };
  }

  return {
    lease,
    capacity,
    get inUse() {
      return inUse;
    },
  };
}
