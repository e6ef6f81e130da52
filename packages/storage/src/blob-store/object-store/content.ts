import { createHash, type Hash } from "node:crypto";
import type { UploadContent } from "./objects.ts";

const CHUNK_BYTES = 128 * 1024;

/** A part of the content, in bytes. */
export type Extent = { readonly start: number; readonly length: number };

/** What a request sends. */
export type RequestBody = {
  readonly length: number;
  /** Called once for each attempt. Each chunk is gone when the next is asked for. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
};

/**
 * Reads again for each pass and each attempt, so that a part never is in memory as a whole. All chunks are in one buffer: each
 * is gone when the next is asked for.
 */
async function* chunksOf(content: UploadContent, { start, length }: Extent): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, length));
  for (let position = start; position < start + length; ) {
    const count = await content.readAt(buffer.subarray(0, start + length - position), position);
    if (count === 0) throw new Error("the spooled file is shorter than its size");
    position += count;
    yield buffer.subarray(0, count);
  }
}

export function bodyOf(content: UploadContent, extent: Extent): RequestBody {
  return { length: extent.length, chunks: () => chunksOf(content, extent) };
}

export function textBody(text: string): RequestBody & { readonly bytes: Buffer } {
  const bytes = Buffer.from(text);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  return { bytes, length: bytes.length, chunks };
}

/** One more pass over the bytes, so that the server can compare what it received. */
export async function hashOf(algorithm: "md5" | "sha256", content: UploadContent, extent: Extent): Promise<Hash> {
  const hash = createHash(algorithm);
  for await (const chunk of chunksOf(content, extent)) hash.update(chunk);
  return hash;
}

/** The parts of a content: each of the length, the last of what is left. */
export function extentsOf(size: number, length: number): Extent[] {
  const count = Math.ceil(size / length);
  return Array.from({ length: count }, (_, index) => ({
    start: index * length,
    length: Math.min(length, size - index * length),
  }));
}

/** Parts of one blob on their way at a time: enough to fill a connection, few enough to share the machine. */
const PARTS_AT_ONCE = 3;

/**
 * Sends the parts, several at a time. Once one has failed no more are begun, and when this rejects all have ended: a part that
 * comes after its upload was given up would stay for ever.
 */
export async function sendParts<Result>(
  extents: readonly Extent[],
  send: (extent: Extent, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  let failed = false;
  const sendOn = async (): Promise<void> => {
    while (!failed) {
      const index = next;
      const extent = extents[index];
      if (!extent) return;
      next += 1;
      results[index] = await send(extent, index);
    }
  };
  const senders = Array.from({ length: PARTS_AT_ONCE }, () =>
    sendOn().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  const failure = (await Promise.allSettled(senders)).find(({ status }) => status === "rejected");
  if (failure?.status === "rejected") throw failure.reason;
  return results;
}
