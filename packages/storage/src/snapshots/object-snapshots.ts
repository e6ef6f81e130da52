import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Objects, Upload } from "../blob-store/object-store/objects.ts";
import { digestOfSnapshot, newestFirst, type SnapshotStore, UnreadableSnapshotError } from "./snapshot-store.ts";

const PART_BYTES = 16 * 2 ** 20;
/** No snapshot is on its way for so long. Milliseconds. */
const ABANDONED_AFTER_MS = 24 * 3_600_000;

/** Objects `<prefix>snapshots/<name>`. */
export function createObjectSnapshots(objects: Objects, prefix: string): SnapshotStore {
  const folder = `${prefix}snapshots/`;

  /** Nothing stays of a failure, nor of what a process that was killed had begun. */
  async function putInParts(key: string, upload: Upload): Promise<void> {
    await objects.tidy?.(folder, Date.now() - ABANDONED_AFTER_MS).catch(() => undefined);
    const prepared = await objects.prepare(key, { ...upload, partBytes: PART_BYTES });
    await prepared.complete().catch(async (error: unknown) => {
      await prepared.abort().catch(() => undefined);
      throw error;
    });
  }

  return {
    async list() {
      const names: string[] = [];
      for await (const key of objects.keysBelow(folder)) names.push(key.slice(folder.length));
      return newestFirst(names);
    },
    async write(name, file) {
      const handle = await open(file, "r");
      try {
        const { size } = await handle.stat();
        const readAt = async (buffer: Uint8Array, position: number): Promise<number> =>
          (await handle.read(buffer, 0, buffer.byteLength, position)).bytesRead;
        const upload = { content: { size, readAt }, digest: digestOfSnapshot(name) };
        const key = `${folder}${name}`;
        if (size <= PART_BYTES) await objects.put(key, upload);
        else await putInParts(key, upload);
      } finally {
        await handle.close();
      }
    },
    async read(name, file) {
      const answer = await objects.get(`${folder}${name}`, {});
      if (!answer) throw new UnreadableSnapshotError("there is no such snapshot");
      await pipeline(answer, createWriteStream(file, { flags: "wx", mode: 0o600 }));
    },
    remove: (name) => objects.remove(`${folder}${name}`),
    close: () => objects.close(),
  };
}
