import { setTimeout as sleep } from "node:timers/promises";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { BlobStore, BlobWriter, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { createMemoryBlobStore } from "@cache-registry/storage/blob-store/memory";
import { describe, expect, it } from "vitest";
import { startBlobFetch } from "./blob-fetch.ts";
import { StoreFailure, type UpstreamBody } from "./receive-blob.ts";

const PIECE = 50_000;
const bytes = Buffer.from(Array.from({ length: 2_000_000 }, (_, index) => (index * 13 + (index >> 9)) % 251));
const digest = digestOfBytes(bytes);

/** Takes `room` bytes, then the disk is full. */
function smallStore(room: number): BlobStore {
  const memory = createMemoryBlobStore();
  return {
    ...memory,
    async create() {
      if (room === 0) throw new Error("disk full");
      const writer = await memory.create();
      const write = async (chunk: Uint8Array): Promise<void> => {
        if (writer.size + chunk.length > room) throw new Error("disk full");
        await writer.write(chunk);
      };
      return Object.defineProperties({ ...writer, write } as BlobWriter, { size: { get: () => writer.size } });
    },
  };
}

type Upstream = { readonly asked: number[]; breakOff?: boolean; content?: Buffer; sent: number; closed: number };

function startFetch(room: number, upstream: Upstream, commit?: (writer: BlobWriter) => Promise<void>) {
  const content = upstream.content ?? bytes;
  async function* send(offset: number): AsyncGenerator<Uint8Array> {
    try {
      for (let at = offset; at < content.length; at += PIECE) {
        if (upstream.breakOff && at >= offset + 10 * PIECE) throw new Error("broken");
        upstream.sent += PIECE;
        yield Buffer.from(content.subarray(at, at + PIECE));
        if (at % (4 * PIECE) === 0) await sleep(1);
      }
    } finally {
      upstream.closed += 1;
    }
  }
  return startBlobFetch({
    digest,
    blobs: smallStore(room),
    isRetryable: (error) => error instanceof Error && error.message === "broken",
    async open(offset): Promise<UpstreamBody> {
      upstream.asked.push(offset);
      return { offset, size: content.length, stream: send(offset) };
    },
    commit: commit ?? ((writer) => writer.commit(digest)),
  });
}

const newUpstream = (some: Partial<Upstream> = {}): Upstream => ({ asked: [], sent: 0, closed: 0, ...some });

async function readAll(reader: ByteReader, size = 70_000, pause = 0): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(size);
  try {
    for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer)) {
      chunks.push(Buffer.from(buffer.subarray(0, count)));
      if (pause > 0) await sleep(pause);
    }
    return Buffer.concat(chunks);
  } finally {
    await reader.close();
  }
}

describe("a fetch whose store is full", () => {
  it("is continued for each reader by a read of its own, from where the bytes on disk end", async () => {
    const upstream = newUpstream();
    const fetch = startFetch(500_000, upstream);
    const [whole, slow, part, early] = await Promise.all([
      readAll(fetch.reader()),
      readAll(fetch.reader(), 30_000, 1),
      readAll(fetch.reader({ start: 450_000, end: 1_999_999 })),
      readAll(fetch.reader({ start: 10, end: 99_999 })),
    ]);
    expect(whole.equals(bytes)).toBe(true);
    expect(slow.equals(bytes)).toBe(true);
    expect(part.equals(bytes.subarray(450_000))).toBe(true);
    expect(early.equals(bytes.subarray(10, 100_000))).toBe(true);
    expect(upstream.asked).toEqual([0, 500_000, 500_000, 500_000]);
    await expect(fetch.finished).rejects.toThrow(StoreFailure);
    expect([fetch.active, fetch.passesOn]).toEqual([false, true]);
  });

  it("serves who comes later, and when there was no room for a single byte", async () => {
    const upstream = newUpstream();
    const fetch = startFetch(0, upstream);
    await expect(fetch.opened).rejects.toThrow("disk full");
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
    const late = await readAll(fetch.reader({ start: 1_900_000, end: 1_999_999 }));
    expect(late.equals(bytes.subarray(1_900_000))).toBe(true);
    expect(upstream.asked).toEqual([0, 0]);
  });

  it("resumes breaks of such a read", async () => {
    const upstream = newUpstream({ breakOff: true });
    expect((await readAll(startFetch(100_000, upstream).reader())).equals(bytes)).toBe(true);
    expect(upstream.asked).toEqual([0, 100_000, 600_000, 1_100_000, 1_600_000]);
  });

  it.each([0, 500_000])("sends no wrong bytes to their end (%i bytes on disk)", async (room) => {
    const content = Buffer.from(bytes);
    content[1_000_000] = 255;
    const reader = startFetch(room, newUpstream({ content })).reader();
    const buffer = Buffer.alloc(100_000);
    let seen = 0;
    const reading = async () => {
      for (let count = -1; count !== 0; seen += count) count = await reader.read(buffer);
    };
    await expect(reading()).rejects.toThrow("do not match the digest");
    expect(seen).toBeLessThanOrEqual(bytes.length - 64 * 1024);
  });

  it("reads no faster than its client, holds little in memory, and ends with it", async () => {
    const upstream = newUpstream();
    const fetch = startFetch(0, upstream);
    await expect(fetch.opened).rejects.toThrow("disk full");
    const reader = fetch.reader();
    await reader.read(Buffer.alloc(10_000));
    await sleep(50);
    expect(upstream.sent).toBeLessThanOrEqual(350_000);
    await reader.close();
    await sleep(20);
    expect([upstream.closed, upstream.asked.length]).toEqual([1, 1]);
    expect(await reader.read(Buffer.alloc(10))).toBe(0);
  });

  it("shows what is verified, although it cannot be committed", async () => {
    const upstream = newUpstream();
    const fetch = startFetch(bytes.length, upstream, () => Promise.reject(new Error("database full")));
    const reader = fetch.reader();
    await expect(fetch.finished).rejects.toThrow("database full");
    expect((await readAll(reader)).equals(bytes)).toBe(true);
    expect(upstream.asked).toEqual([0]);
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
    expect(upstream.asked).toEqual([0, 0]);
  });
});
