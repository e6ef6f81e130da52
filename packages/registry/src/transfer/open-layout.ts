import { stat } from "node:fs/promises";
import type { LayoutReader, LayoutWriter, ResumeProgress } from "./layout.ts";
import { createArchive, openArchive } from "./layout-archive.ts";
import { createFolder, openFolder } from "./layout-folder.ts";

/** @throws Error naming the path when there is nothing, or something else than a layout */
export async function openLayout(path: string): Promise<LayoutReader> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${path} cannot be read (${error.code ?? error.message})`);
  });
  return found.isDirectory() ? openFolder(path) : openArchive(path);
}

/** A name that ends in `.tar` is an archive; anything else is a folder. */
export function createLayoutWriter(path: string, onFound: ResumeProgress): Promise<LayoutWriter> {
  return path.endsWith(".tar") ? createArchive(path, onFound) : createFolder(path, onFound);
}
