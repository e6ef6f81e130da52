import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Objects } from "../blob-store/object-store/objects.ts";
import { digestOfSnapshot, newestFirst, type SnapshotStore, UnreadableSnapshotError } from "./snapshot-store.ts";

const PART_BYTES = 16 * 2 ** 20;

/** Objects `<prefix>snapshots/<name>`. */
export function createObjectSnapshots(objects: Objects, prefix: string): SnapshotStore {
  const folder = `${prefix}snapshots/`;
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
        else await (await objects.prepare(key, { ...upload, partBytes: PART_BYTES })).complete();
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
