import { accessSync, constants } from "node:fs";

/** One line for each file that a configuration key names and that this process cannot read. */
export function unreadableFiles(files: readonly (readonly [key: string, path: string | undefined])[]): string[] {
  const problems: string[] = [];
  for (const [key, path] of files) {
    if (path === undefined) continue;
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      problems.push(`${key}: the file ${path} cannot be read (${code ?? "unknown error"})`);
    }
  }
  return problems;
}
