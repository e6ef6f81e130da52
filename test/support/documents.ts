import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Relative to the repository. */
export function documents(...patterns: readonly string[]): string[] {
  return globSync([...patterns], { cwd: ROOT }).toSorted();
}

export function readDocument(path: string): string {
  return readFileSync(`${ROOT}/${path}`, "utf8");
}
