import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** Makes the names in a folder durable: after it, what was renamed or removed there stays so through a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
