import { silentLogger } from "@cache-registry/runtime/logger";
import type { Volume } from "@cache-registry/storage/blob-store/volume";
import { describe, expect, it } from "vitest";
import { createDisk } from "./disk.ts";

const MiB = 2 ** 20;
const RESERVE = 16 * MiB;

/** A volume of 1 GiB in numbers; registry-full-disk.test.ts fills a real one. */
function setup({ used = 0, reserved = 0 } = {}) {
  const world = {
    used,
    reserved,
    looks: 0,
    /** A user's quota is used up: the volume has room all the same. */
    overQuota: false,
    error: undefined as Error | undefined,
  };
  const total = 1_024 * MiB;
  const volume: Volume = {
    reserveBytes: RESERVE,
    async usage() {
      world.looks += 1;
      if (world.error) throw world.error;
      return { total, free: total - world.used - world.reserved };
    },
    reserved: async () => world.reserved,
    async releaseReserve() {
      world.reserved = 0;
    },
    async makeReserve() {
      if (!world.overQuota) world.reserved = RESERVE;
      return !world.overQuota;
    },
  };
  /** Uses all but so many bytes. */
  const leave = (free: number): void => {
    world.used = total - world.reserved - free;
  };
  return { world, total, leave, disk: createDisk({ volume: () => volume, logger: silentLogger() }) };
}

describe("createDisk", () => {
  it("knows nothing of a store that is elsewhere, and is never full there", async () => {
    const disk = createDisk({ volume: () => undefined, logger: silentLogger() });
    disk.sawFull();
    expect([await disk.look(), disk.state, disk.full]).toEqual([undefined, undefined, false]);
  });

  it("makes the reserve at the first look, and counts it as taken", async () => {
    const { disk, total } = setup();
    expect(disk.state).toBeUndefined();
    const state = { total, free: total - RESERVE, full: false, reserved: RESERVE, reserve: RESERVE };
    expect(await disk.look()).toEqual(state);
    expect(disk.state).toEqual(state);
  });

  it("makes no reserve that would take more than half of what is left", async () => {
    const { disk, leave } = setup();
    leave(2 * RESERVE - 1);
    expect(await disk.look()).toMatchObject({ reserved: 0, full: false });
    leave(2 * RESERVE);
    expect(await disk.look()).toMatchObject({ reserved: RESERVE, full: false });
  });

  it("makes half a reserve whole", async () => {
    const { disk } = setup({ reserved: RESERVE / 2 });
    expect(await disk.look()).toMatchObject({ reserved: RESERVE });
  });

  it("frees the reserve of a full disk, and says that it is full until the reserve could be made anew", async () => {
    const { disk, leave } = setup();
    await disk.look();
    leave(MiB);
    expect(await disk.look()).toMatchObject({ full: false, reserved: RESERVE });
    leave(MiB - 1);
    expect(await disk.look()).toMatchObject({ full: true, reserved: 0, free: RESERVE + MiB - 1 });
    expect(disk.full).toBe(true);
    leave(2 * RESERVE - 1);
    expect(await disk.look()).toMatchObject({ full: true, reserved: 0 });
    leave(2 * RESERVE);
    expect(await disk.look()).toMatchObject({ full: false, reserved: RESERVE });
    expect(disk.full).toBe(false);
  });

  it("believes those who could not write, although the volume has room", async () => {
    const { disk, world } = setup();
    await disk.look();
    disk.sawFull();
    expect(disk.full).toBe(true);
    world.overQuota = true;
    expect(await disk.look()).toMatchObject({ full: true, reserved: 0 });
    expect(await disk.look()).toMatchObject({ full: true, reserved: 0 });
    world.overQuota = false;
    expect(await disk.look()).toMatchObject({ full: false, reserved: RESERVE });
  });

  it("looks once for all who ask at the same time", async () => {
    const { disk, world } = setup();
    await disk.look();
    const { looks } = world;
    const [first, second] = await Promise.all([disk.look(), disk.look()]);
    expect(second).toBe(first);
    expect(world.looks - looks).toBe(2);
  });

  it("keeps what it knew when a look fails, and looks again", async () => {
    const { disk, world } = setup();
    const before = await disk.look();
    world.error = new Error("EIO");
    await expect(disk.look()).rejects.toThrow("EIO");
    expect(disk.state).toEqual(before);
    world.error = undefined;
    world.used = 100 * MiB;
    expect((await disk.look())?.free).toBe((before?.free ?? 0) - 100 * MiB);
  });
});
