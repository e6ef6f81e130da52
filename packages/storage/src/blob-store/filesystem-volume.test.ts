import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createFilesystemVolume } from "./filesystem-volume.ts";

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "creg-volume-"));
  folders.push(folder);
  return folder;
}

describe("filesystem volume", () => {
  it("says how large the volume is and what is free of it", async () => {
    const { total, free } = await (await createFilesystemVolume(await newFolder())).usage();
    expect(total).toBeGreaterThan(0);
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThan(total);
  });

  it("makes its reserve of bytes that take room, gives it back, and makes it anew", async () => {
    const folder = await newFolder();
    const volume = await createFilesystemVolume(folder);
    expect(await volume.reserved()).toBe(0);
    expect(await volume.makeReserve()).toBe(true);
    const { size, blocks, mtimeMs } = await stat(join(folder, "reserve"));
    expect(size).toBe(volume.reserveBytes);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    expect(await volume.makeReserve()).toBe(true);
    expect((await stat(join(folder, "reserve"))).mtimeMs).toBe(mtimeMs);
    await volume.releaseReserve();
    await volume.releaseReserve();
    expect(await readdir(folder)).toEqual([]);
  });

  it("completes a reserve that a crash left half done", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "reserve"), "half");
    const volume = await createFilesystemVolume(folder);
    expect(await volume.makeReserve()).toBe(true);
    expect(await volume.reserved()).toBe(volume.reserveBytes);
  });
});
