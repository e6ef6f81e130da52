import { describe, expect, it } from "vitest";
import { type BufferLease, createBufferPool } from "./buffer-pool.ts";
import { createMetrics } from "./metrics.ts";

const KIB = 1024;

function leaseOf(pool: { lease(): BufferLease | undefined }): BufferLease {
  const lease = pool.lease();
  if (!lease) throw new Error("the pool is spent");
  return lease;
}

describe("createBufferPool", () => {
  it("leases two buffers of 64 KiB that do not overlap", () => {
    const pool = createBufferPool();
    const { buffers, bufferSize } = leaseOf(pool);
    expect(bufferSize).toBe(64 * KIB);
    expect(buffers.map((buffer) => buffer.length)).toEqual([64 * KIB, 64 * KIB]);
    buffers[0].fill(1);
    buffers[1].fill(2);
    expect(buffers[0].every((byte) => byte === 1)).toBe(true);
    expect([pool.inUse, pool.capacity]).toEqual([128 * KIB, 64 * KIB * KIB]);
  });

  it("is spent at its capacity and serves again after a release", () => {
    const pool = createBufferPool({ capacity: 512 * KIB });
    const leases = [1, 2, 3, 4].map(() => leaseOf(pool));
    expect(pool.lease()).toBeUndefined();
    leases[0]?.release();
    expect(pool.lease()).toBeDefined();
    expect(pool.inUse).toBe(512 * KIB);
  });

  it("grows only while less than half full", () => {
    const pool = createBufferPool({ capacity: 2048 * KIB });
    const [one, two, three] = [leaseOf(pool), leaseOf(pool), leaseOf(pool)];
    expect(one.grow()).toBe(true);
    expect(one.bufferSize).toBe(256 * KIB);
    expect(pool.inUse).toBe((512 + 128 + 128) * KIB);
    expect(two.grow()).toBe(true);
    expect(pool.inUse).toBe((512 + 512 + 128) * KIB);
    expect(three.grow()).toBe(false);
    expect(three.bufferSize).toBe(64 * KIB);
    expect(one.grow()).toBe(true);
    one.release();
    expect(three.grow()).toBe(true);
  });

  it("never grows beyond its capacity", () => {
    const pool = createBufferPool({ capacity: 256 * KIB });
    expect(leaseOf(pool).grow()).toBe(false);
    expect(pool.inUse).toBe(128 * KIB);
  });

  it("reuses released buffers of both sizes", () => {
    const pool = createBufferPool();
    const first = leaseOf(pool);
    const [small] = first.buffers;
    first.grow();
    const [large] = first.buffers;
    first.release();
    const second = leaseOf(pool);
    expect(second.buffers[0]).toBe(small);
    second.grow();
    expect(second.buffers[0]).toBe(large);
  });

  it("releases once, and guards buffers that belong to others", () => {
    const pool = createBufferPool();
    const lease = leaseOf(pool);
    lease.release();
    lease.release();
    expect(pool.inUse).toBe(0);
    expect(() => lease.buffers).toThrow("after its release");
    expect(() => lease.grow()).toThrow("after its release");
    const [a, b] = [leaseOf(pool), leaseOf(pool)];
    expect(a.buffers[0]).not.toBe(b.buffers[0]);
  });

  it("does not hold more memory than its capacity, idle buffers included", () => {
    const pool = createBufferPool({ capacity: 2048 * KIB });
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 50; round += 1) {
      const leases = Array.from({ length: 16 }, () => leaseOf(pool));
      for (const lease of leases) lease.release();
      const large = leaseOf(pool);
      large.grow();
      large.release();
    }
    // Without reuse the rounds would allocate 125 MiB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(60 * KIB * KIB);
  });

  it("tells its use and its refusals", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const pool = createBufferPool({ capacity: 128 * KIB, metrics });
    leaseOf(pool);
    pool.lease();
    const text = await metrics.text();
    expect(text).toContain(`cache_registry_buffer_pool_in_use_bytes ${128 * KIB}`);
    expect(text).toContain(`cache_registry_buffer_pool_capacity_bytes ${128 * KIB}`);
    expect(text).toContain("cache_registry_buffer_pool_refused_total 1");
  });
});
