import { type FileHandle, open } from "node:fs/promises";
import { algorithmOf, type Digest, hexOf, isDigest } from "@cache-registry/core/digest";
import {
  INDEX_FILE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  type LayoutReader,
  type LayoutWriter,
  type ResumeProgress,
  type Source,
} from "./layout.ts";
import { padded, scanTar, TAR_END, type TarEntry, TarError, tarHeader } from "./tar.ts";
import { bytesOf, isIntact, verified } from "./verified.ts";

const CHUNK_BYTES = 256 * 1024;
const MAX_INDEX_BYTES = 64 * 2 ** 20;
const GZIP = Buffer.from([0x1f, 0x8b]);

const nameOf = (digest: Digest): string => `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;

function digestIn(name: string): Digest | undefined {
  const [folder, algorithm, hex, more] = name.split("/");
  const digest = `${algorithm}:${hex}`;
  return folder === "blobs" && more === undefined && isDigest(digest) ? digest : undefined;
}

async function* read(file: FileHandle, { start, size }: Pick<TarEntry, "start" | "size">): Source {
  for (let position = start; position < start + size; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, start + size - position));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** @throws TarError */
export async function openArchive(path: string): Promise<LayoutReader> {
  const file = await open(path, "r");
  try {
    const head = Buffer.alloc(GZIP.length);
    await file.read(head, 0, head.length, 0);
    if (head.equals(GZIP)) throw new TarError(`${path} is compressed: decompress it first (gunzip)`);
    const { entries, cut } = await scanTar(file);
    if (cut) throw new TarError(`${path} ends in the middle: copy it again, or let the export finish`);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    return {
      async index() {
        const entry = byName.get(INDEX_FILE);
        if (!entry) throw new TarError(`${path} has no ${INDEX_FILE}: it is no OCI image layout`);
        return bytesOf(read(file, entry), MAX_INDEX_BYTES);
      },
      size: async (digest) => byName.get(nameOf(digest))?.size,
      open: (digest) => read(file, byName.get(nameOf(digest)) ?? { start: 0, size: 0 }),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Appends to an archive. What an earlier run wrote is verified and kept up to the first entry that is not whole; index.json
 * comes last, so that an archive without it is seen to be unfinished.
 */
export async function createArchive(path: string, onFound: ResumeProgress): Promise<LayoutWriter> {
  const file = await open(path, "a+").then(async (appending) => {
    await appending.close();
    return open(path, "r+");
  });
  const held = new Set<Digest>();
  let end = 0;
  try {
    end = await keepGood(file, held, onFound);
    await file.truncate(end);
    if (end === 0) await append(LAYOUT_FILE, Buffer.from(LAYOUT_CONTENT));
  } catch (error) {
    await file.close();
    throw error instanceof TarError
      ? new TarError(`${path} is there, and no archive of an export: ${error.message}`)
      : error;
  }

  async function writeAt(chunk: Uint8Array, position: number): Promise<number> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done);
      done += bytesWritten;
    }
    return position + chunk.length;
  }

  async function append(name: string, content: Buffer): Promise<void> {
    await appendFrom(name, content.length, [content]);
  }

  async function appendFrom(name: string, size: number, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    try {
      let position = await writeAt(tarHeader(name, size), end);
      for await (const chunk of source) position = await writeAt(chunk, position);
      position = await writeAt(Buffer.alloc(padded(size) - size), position);
      end = position;
    } catch (error) {
      await file.truncate(end);
      throw error;
    }
  }

  return {
    has: (digest) => held.has(digest),
    async write(blob, source) {
      await appendFrom(nameOf(blob.digest), blob.size, verified(source, blob));
      held.add(blob.digest);
    },
    async finish(index) {
      await append(INDEX_FILE, index);
      await writeAt(TAR_END, end);
      await file.sync();
    },
    close: () => file.close(),
  };
}

/** Where to go on writing. */
async function keepGood(file: FileHandle, held: Set<Digest>, onFound: ResumeProgress): Promise<number> {
  const { entries } = await scanTar(file);
  let end = 0;
  for (const [position, { name, start, size }] of entries.entries()) {
    if (name === INDEX_FILE && position < entries.length - 1) throw new TarError("its index is not at its end");
    // A finished archive is extended: its index is written anew.
    if (name === INDEX_FILE) break;
    const digest = digestIn(name);
    if (digest === undefined && name !== LAYOUT_FILE) throw new TarError(`it holds ${name}`);
    if (digest !== undefined) {
      onFound(digest);
      if (!(await isIntact(read(file, { start, size }), { digest, size }))) break;
      held.add(digest);
    }
    end = start + padded(size);
  }
  return end;
}
