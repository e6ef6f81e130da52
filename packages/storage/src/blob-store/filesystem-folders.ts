import { lstat, mkdir, opendir, rm } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, isAbsent } from "./filesystem-errors.ts";
import { isUploadId } from "./filesystem-layout.ts";

/** Our folders are real ones: through a symbolic link, files would be written or removed somewhere else. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    if (errnoOf(error) !== "EEXIST") throw error;
  });
  if (!(await lstat(path)).isDirectory()) throw new Error(`${path} must be a folder, and no symbolic link`);
}

export async function emptyFolder(path: string): Promise<void> {
  for await (const entry of await opendir(path)) await rm(join(path, entry.name), { recursive: true, force: true });
}

export async function statFile(path: string): Promise<{ readonly size: number; readonly mtimeMs: number } | undefined> {
  try {
    const stat = await lstat(path);
    return stat.isFile() ? stat : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

export async function* listUploads(
  folder: string,
): AsyncGenerator<{ readonly id: string; readonly modifiedAt: number }> {
  for await (const { name } of await opendir(folder)) {
    if (!isUploadId(name)) continue;
    const stat = await statFile(join(folder, name));
    if (stat) yield { id: name, modifiedAt: stat.mtimeMs };
  }
}
