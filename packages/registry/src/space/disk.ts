import type { Logger } from "@cache-registry/runtime/logger";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import type { Volume } from "@cache-registry/storage/blob-store/volume";

/** With less than this free, in bytes, a database cannot work, whoever takes the last of it. */
const FULL_BYTES = 1024 * 1024;

export type DiskState = {
  readonly total: number;
  readonly free: number;
  /** Nothing more is stored until there is room for the reserve. */
  readonly full: boolean;
  /** Bytes that the reserve holds now, and is to hold. */
  readonly reserved: number;
  readonly reserve: number;
};

/** The disk of the store: how full it is, and the reserve that is freed when it is. */
export type Disk = {
  /** As it was when last looked at; undefined for stores that are elsewhere, and before the first look. */
  readonly state: DiskState | undefined;
  readonly full: boolean;
  /** Looks, frees the reserve of a full disk, and makes it anew when there is room. */
  look(): Promise<DiskState | undefined>;
  /** Something could not be written for lack of room; quotas of users show nowhere else. */
  sawFull(): void;
};

export function createDisk({ volume, logger }: { volume: () => Volume | undefined; logger: Logger }): Disk {
  let state: DiskState | undefined;
  let full = false;
  const looks = createSingleFlight<DiskState | undefined>();

  /** Sets the reserve right; the bytes that it holds then. */
  async function settle(local: Volume, free: number): Promise<number> {
    const reserved = await local.reserved();
    if (full && reserved > 0) {
      await local.releaseReserve();
      logger.error({ free, freed: reserved }, "the disk is full: the reserve is freed, and nothing is stored");
      return 0;
    }
    if (reserved === local.reserveBytes || free < 2 * local.reserveBytes) return reserved;
    if (!(await local.makeReserve())) return local.reserved();
    if (full) logger.info({ free }, "the disk has room again");
    full = false;
    return local.reserveBytes;
  }

  async function look(): Promise<DiskState | undefined> {
    const local = volume();
    if (!local) return undefined;
    const before = await local.usage();
    full ||= before.free < FULL_BYTES;
    const reserved = await settle(local, before.free);
    const { total, free } = await local.usage();
    state = { total, free, full, reserved, reserve: local.reserveBytes };
    return state;
  }

  return {
    get state() {
      return state;
    },
    get full() {
      return full;
    },
    sawFull() {
      // Elsewhere, nobody but the store itself knows when there is room again.
      if (volume()) full = true;
    },
    look: () => looks.run("", look),
  };
}
