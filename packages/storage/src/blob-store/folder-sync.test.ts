import type * as fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FolderSync, openFolderSync } from "./folder-sync.ts";

const syncs = vi.hoisted(() => ({ begun: 0, failing: false }));
// How often it is really called cannot be seen from outside.
vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  return {
    ...original,
    fsync(fd: number, done: (error: NodeJS.ErrnoException | null) => void) {
      syncs.begun += 1;
      if (syncs.failing) setImmediate(() => done(new Error("EIO")));
      else original.fsync(fd, done);
    },
  };
});

let path: string;
let folder: FolderSync;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "folder-sync-"));
  folder = await openFolderSync(path);
  Object.assign(syncs, { begun: 0, failing: false });
});
afterEach(async () => {
  await folder.close();
  await rm(path, { recursive: true });
});

describe("folder sync", () => {
  it("is shared by those who wait, and never one that began before the call", async () => {
    const first = folder.sync();
    expect(syncs.begun).toBe(1);
    const later = Array.from({ length: 20 }, () => folder.sync());
    expect(syncs.begun).toBe(1);
    await first;
    await Promise.all(later);
    expect(syncs.begun).toBe(2);
    await folder.sync();
    expect(syncs.begun).toBe(3);
  });

  it("fails for all who wait for it", async () => {
    syncs.failing = true;
    const results = await Promise.allSettled([folder.sync(), folder.sync(), folder.sync()]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    syncs.failing = false;
    await folder.sync();
  });
});
