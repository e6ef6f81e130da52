import { execFileSync } from "node:child_process";
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MiB = 2 ** 20;

/** A file system of its own, small enough to fill: a tmpfs, which needs root. */
export type SmallVolume = {
  readonly path: string;
  /** `storage` of a registry that lives on it. */
  readonly storage: object;
  free(): Promise<number>;
  /** Fills it up so that about so many bytes are left free. */
  fill(leave: number): Promise<void>;
  /** Takes away what filled it. */
  clear(): Promise<void>;
  remount(mode: "ro" | "rw"): void;
  /** Unmounts and removes it. */
  dispose(): Promise<void>;
};

export async function mountSmallVolume(size: number): Promise<SmallVolume> {
  const path = await mkdtemp(join(tmpdir(), "creg-volume-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=700`, "tmpfs", path]);
  const ballast = join(path, "ballast");
  const free = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  };
  return {
    path,
    storage: {
      blobs: { filesystem: { path: join(path, "data") } },
      metadata: { sqlite: { path: join(path, "data", "metadata.db") } },
    },
    free,
    async fill(leave) {
      const bytes = (await free()) - leave;
      for (let written = 0; written < bytes; written += MiB) {
        await writeFile(ballast, Buffer.alloc(Math.min(MiB, bytes - written)), { flag: "a" });
      }
    },
    clear: () => rm(ballast, { force: true }),
    remount(mode) {
      execFileSync("mount", ["-o", `remount,${mode}`, path]);
    },
    async dispose() {
      execFileSync("umount", [path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}
