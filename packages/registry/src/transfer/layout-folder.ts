import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, hexOf, isDigest } from "@cache-registry/core/digest";
import { syncFolder } from "@cache-registry/runtime/sync-folder";
import {
  INDEX_FILE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  type LayoutReader,
  type LayoutWriter,
  type ResumeProgress,
} from "./layout.ts";
import { isIntact, verified } from "./verified.ts";

const UNFINISHED = ".unfinished";
const CHUNK_BYTES = 256 * 1024;

const pathOf = (root: string, digest: Digest): string => join(root, "blobs", algorithmOf(digest), hexOf(digest));

export function openFolder(root: string): LayoutReader {
  return {
    index: () => readFile(join(root, INDEX_FILE)),
    async size(digest) {
      const found = await stat(pathOf(root, digest)).catch(() => undefined);
      return found?.isFile() ? found.size : undefined;
    },
    open: (digest) => createReadStream(pathOf(root, digest), { highWaterMark: CHUNK_BYTES }),
    close: async () => {},
  };
}

/** What an earlier run left is verified first; what is not whole is fetched again. */
export async function createFolder(root: string, onFound: ResumeProgress): Promise<LayoutWriter> {
  const held = new Set<Digest>();
  for (const algorithm of DIGEST_ALGORITHMS) {
    const folder = join(root, "blobs", algorithm);
    await mkdir(folder, { recursive: true });
    for (const name of await readdir(folder)) {
      const digest = `${algorithm}:${name}`;
      if (name.endsWith(UNFINISHED)) await rm(join(folder, name));
      if (!isDigest(digest)) continue;
      onFound(digest);
      const { size } = await stat(join(folder, name));
      const source = createReadStream(join(folder, name), { highWaterMark: CHUNK_BYTES });
      if (await isIntact(source, { digest, size })) held.add(digest);
    }
  }
  await writeFile(join(root, LAYOUT_FILE), LAYOUT_CONTENT);

  async function place(path: string, content: AsyncIterable<Uint8Array> | Buffer): Promise<void> {
    const unfinished = `${path}${UNFINISHED}`;
    try {
      await writeFile(unfinished, content, { flush: true });
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  }

  return {
    has: (digest) => held.has(digest),
    async write(blob, source) {
      await place(pathOf(root, blob.digest), verified(source, blob));
      held.add(blob.digest);
    },
    async finish(index) {
      await place(join(root, INDEX_FILE), index);
      await syncFolder(root);
    },
    close: async () => {},
  };
}
