import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";

/** A mounted volume is swapped by several file operations; they are seen as one after this pause. */
const SETTLE = 100;

/**
 * Calls back soon after a change near the files, and at each interval (milliseconds) anyway, for file systems that do not
 * notify: content decides, not notifications. The kubelet swaps a symlink beside mounted files, so their folders are
 * watched. The result ends it.
 */
export function watchFiles(files: readonly string[], interval: number, look: () => void): () => void {
  let settle: NodeJS.Timeout | undefined;
  const soon = (): void => {
    clearTimeout(settle);
    settle = setTimeout(look, SETTLE).unref();
  };
  const watchers = [...new Set(files.map((file) => dirname(file)))].flatMap((directory): FSWatcher[] => {
    try {
      // A watcher that fails later is no loss: the poll goes on.
      return [watch(directory, { persistent: false }, soon).on("error", () => {})];
    } catch {
      return [];
    }
  });
  const poll = setInterval(look, interval).unref();
  return () => {
    clearInterval(poll);
    clearTimeout(settle);
    for (const watcher of watchers) watcher.close();
  };
}
