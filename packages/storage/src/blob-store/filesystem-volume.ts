import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { isFull } from "./filesystem-errors.ts";
import { statFile } from "./filesystem-folders.ts";
import type { Volume } from "./volume.ts";

const RESERVE_BYTES = 16 * 2 ** 20;
/** Of a small volume it takes no more than this part. */
const RESERVE_PART = 1 / 16;
const PIECE_BYTES = 2 ** 20;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

async function usageOf(root: string): Promise<{ total: number; free: number }> {
  const { blocks, bavail, bsize } = await statfs(root);
  return { total: blocks * bsize, free: bavail * bsize };
}

/** Less than this, in bytes, and a database cannot even be opened. */
const TOO_FULL_BYTES = 2 ** 20;

/** Before anything is started: a disk that filled up meanwhile must not keep the registry from starting. */
export async function releaseReserveOfFullDisk(root: string): Promise<void> {
  const usage = await usageOf(root).catch(() => undefined);
  if (usage && usage.free < TOO_FULL_BYTES) await rm(reserveOf(root), { force: true });
}

function reserveOf(root: string): string {
  return join(root, "reserve");
}

/** The volume of a store's root folder; the reserve is the file `reserve` there. */
export async function createFilesystemVolume(root: string): Promise<Volume> {
  const file = reserveOf(root);
  const { total } = await usageOf(root);
  const reserveBytes = Math.floor(Math.min(RESERVE_BYTES, total * RESERVE_PART));

  /** Random, as zeros may take no room (compression, sparse files). */
  async function fill(): Promise<void> {
    const handle = await open(file, CREATE, 0o600);
    try {
      for (let written = 0; written < reserveBytes; ) {
        const piece = randomBytes(Math.min(PIECE_BYTES, reserveBytes - written));
        written += (await handle.write(piece)).bytesWritten;
      }
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  return {
    reserveBytes,
    usage: () => usageOf(root),
    reserved: async () => (await statFile(file))?.size ?? 0,
    releaseReserve: () => rm(file, { force: true }),
    async makeReserve() {
      if ((await statFile(file))?.size === reserveBytes) return true;
      try {
        await fill();
        return true;
      } catch (error) {
        await rm(file, { force: true });
        if (isFull(error)) return false;
        throw error;
      }
    },
  };
}
