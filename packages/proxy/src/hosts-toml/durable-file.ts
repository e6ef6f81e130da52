import { constants, copyFile, link, lstat, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { syncFolder } from "@cache-registry/runtime/sync-folder";

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** Undefined: there is none. @throws Error of the system, or for what is no plain file */
export async function readPlainFile(path: string): Promise<string | undefined> {
  try {
    if (!(await lstat(path)).isFile()) throw new Error("it is not a plain file: something else looks after it");
    return await readFile(path, "latin1");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

const NEW = ".cache-registry-new";

/** Readers see the old content or the new one, also after a power cut. */
export async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}${NEW}`;
  await rm(temporary, { force: true });
  const file = await open(temporary, "wx", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text, "latin1");
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** What a writer that was interrupted left behind. */
export async function dropUnfinished(path: string): Promise<void> {
  await rm(`${path}${NEW}`, { force: true });
}

/** A second name for the same file, so that owner, times and attributes come back with it; else a copy. */
export async function keepAs(path: string, backup: string): Promise<void> {
  try {
    await link(path, backup);
  } catch (error) {
    if (!["EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(codeOf(error))) throw error;
    await copyFile(path, backup, constants.COPYFILE_EXCL);
    const file = await open(backup, "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await syncFolder(dirname(path));
}

export async function moveDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}
