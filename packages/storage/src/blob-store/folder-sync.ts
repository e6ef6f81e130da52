import { close, constants, fsync, open } from "node:fs";
import { promisify } from "node:util";

const openFile = promisify(open);
const syncFile = promisify(fsync);
const closeFile = promisify(close);

/** Makes names in one folder durable: a rename survives a power cut only when the folder that holds the name is synced. */
export type FolderSync = {
  /** Resolves when every name put there before the call is on disk. Those who wait at the same time share one fsync. */
  sync(): Promise<void>;
  close(): Promise<void>;
};

export async function openFolderSync(path: string): Promise<FolderSync> {
  const folder = await openFile(path, constants.O_RDONLY | constants.O_DIRECTORY);
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;

  function run(): Promise<void> {
    const current = syncFile(folder);
    running = current;
    const settled = () => {
      if (running === current) running = undefined;
    };
    current.then(settled, settled);
    return current;
  }

  /** The one under way may have begun before the rename: the next one counts, for all who come until it begins. */
  async function runAfter(current: Promise<void>): Promise<void> {
    await current.catch(() => undefined);
    next = undefined;
    return run();
  }

  return {
    sync() {
      if (!running) return run();
      next ??= runAfter(running);
      return next;
    },
    close: () => closeFile(folder),
  };
}
