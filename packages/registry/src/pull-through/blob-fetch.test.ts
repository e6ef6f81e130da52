import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { UpstreamError } from "@cache-registry/registry-client/upstream-error";
import type { BlobStore, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { createMemoryBlobStore } from "@cache-registry/storage/blob-store/memory";
import { describe, expect, it } from "vitest";
import { type BlobFetchOptions, startBlobFetch } from "./blob-fetch.ts";
import type { UpstreamBody } from "./receive-blob.ts";
import { isTransient } from "./upstream-failure.ts";

const HOLD_BACK = 64 * 1024;
const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));
const digest = digestOfBytes(bytes);

const broken = () => new UpstreamError("the connection broke", { kind: "unreachable", registry: "a.example" });

/** A body: buffers are sent, numbers are pauses in milliseconds, errors break it off. */
type Step = Uint8Array | number | Error | Promise<unknown>;
async function* stream(...steps: readonly Step[]): AsyncGenerator<Uint8Array> {
  for (const step of steps) {
    if (step instanceof Error) throw step;
    if (step instanceof Uint8Array) yield step;
    else if (typeof step === "number") await sleep(step);
    else await step;
  }
}

type Fetching = { asked: number[]; options?: Partial<BlobFetchOptions>; blobs?: BlobStore; wanted?: Digest };

/** Answers one after the other; the last one for ever. */
function fetchFrom(answers: readonly (UpstreamBody | Error)[], { asked, options, blobs, wanted }: Fetching) {
  const store = blobs ?? createMemoryBlobStore();
  const wantedDigest = wanted ?? digest;
  return startBlobFetch({
    digest: wantedDigest,
    blobs: store,
    isRetryable: isTransient,
    patience: 2_000,
    async open(offset) {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(offset);
      if (!answer || answer instanceof Error) throw answer ?? new Error("no answer");
      return answer;
    },
    commit: (writer) => writer.commit(wantedDigest),
    ...options,
  });
}

async function readAll(reader: ByteReader, size = 50_000): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(size);
  try {
    for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer)) {
      chunks.push(Buffer.from(buffer.subarray(0, count)));
    }
  } finally {
    await reader.close();
  }
  return Buffer.concat(chunks);
}

const body = (offset: number, ...steps: readonly Step[]): UpstreamBody => ({
  offset,
  size: bytes.length,
  stream: stream(...steps),
});

describe("startBlobFetch", () => {
  it("gives every reader its bytes, at its own pace and range", async () => {
    const asked: number[] = [];
    const fetch = fetchFrom([body(0, bytes.subarray(0, 100_000), 20, bytes.subarray(100_000))], { asked });
    const [whole, small, part] = await Promise.all([
      readAll(fetch.reader()),
      readAll(fetch.reader(), 999),
      readAll(fetch.reader({ start: 99_990, end: 250_000 })),
    ]);
    expect(whole.equals(bytes)).toBe(true);
    expect(small.equals(bytes)).toBe(true);
    expect(part.equals(bytes.subarray(99_990, 250_001))).toBe(true);
    await fetch.finished;
    expect([fetch.active, fetch.received, asked]).toEqual([false, bytes.length, [0]]);
  });

  it("shows the end only when the digest of the whole is known", async () => {
    const rest = Promise.withResolvers<void>();
    const fetch = fetchFrom([body(0, bytes.subarray(0, -1), rest.promise, bytes.subarray(-1))], { asked: [] });
    const reader = fetch.reader();
    const buffer = Buffer.alloc(400_000);
    let seen = 0;
    while (seen < bytes.length - HOLD_BACK) seen += await reader.read(buffer.subarray(seen));
    expect(seen).toBe(bytes.length - HOLD_BACK);
    const pending = reader.read(buffer);
    expect(await Promise.race([pending, sleep(50, "waiting")])).toBe("waiting");
    rest.resolve();
    expect(await pending).toBeGreaterThan(0);
    await reader.close();
    await fetch.finished;
  });

  it("resumes a break where it was", async () => {
    const asked: number[] = [];
    let resumed = 0;
    const answers = [
      body(0, bytes.subarray(0, 120_000), broken()),
      broken(),
      body(120_000, bytes.subarray(120_000, 200_000), broken()),
      body(200_000, bytes.subarray(200_000)),
    ];
    const fetch = fetchFrom(answers, {
      asked,
      options: {
        onResume: () => {
          resumed += 1;
        },
      },
    });
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
    expect([asked, resumed]).toEqual([[0, 120_000, 120_000, 200_000], 3]);
  });

  it("reads past what it has when the upstream ignores the range", async () => {
    const answers = [
      body(0, bytes.subarray(0, 120_000), broken()),
      body(0, bytes.subarray(0, 50_000), bytes.subarray(50_000)),
    ];
    const fetch = fetchFrom(answers, { asked: [] });
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
  });

  it("treats a body that ends early as a break", async () => {
    const asked: number[] = [];
    const answers = [body(0, bytes.subarray(0, 100_000)), body(100_000, bytes.subarray(100_000))];
    expect((await readAll(fetchFrom(answers, { asked }).reader())).equals(bytes)).toBe(true);
    expect(asked).toEqual([0, 100_000]);
  });

  it("gives up an upstream that ends early for ever", async () => {
    const answers = [body(0, bytes.subarray(0, 100_000)), body(100_000)];
    const fetch = fetchFrom(answers, { asked: [], options: { patience: 150 } });
    await expect(fetch.finished).rejects.toThrow("ended a blob early");
  });

  it("does not try again what never began", async () => {
    const asked: number[] = [];
    const fetch = fetchFrom([broken()], { asked });
    await expect(fetch.opened).rejects.toThrow("the connection broke");
    await expect(readAll(fetch.reader())).rejects.toThrow("the connection broke");
    expect([asked, fetch.active]).toEqual([[0], false]);
  });

  it.each([
    ["wrong bytes", [body(0, Buffer.alloc(bytes.length))], "do not match the digest"],
    ["too many bytes", [body(0, bytes, Buffer.from("x"))], "more bytes than it announced"],
    [
      "another size when resumed",
      [body(0, bytes.subarray(0, 9), broken()), { ...body(9, bytes.subarray(9)), size: 5 }],
      "changed the size",
    ],
    ["a gap when resumed", [body(0, bytes.subarray(0, 9), broken()), body(10, bytes.subarray(10))], "left out bytes"],
  ])("fails on %s, and nobody gets the end", async (_what, answers, message) => {
    const blobs = createMemoryBlobStore();
    const fetch = fetchFrom(answers, { asked: [], blobs });
    const reader = fetch.reader();
    const buffer = Buffer.alloc(bytes.length + 10);
    let seen = 0;
    const reading = async () => {
      for (let count = -1; count !== 0; seen += count) count = await reader.read(buffer);
    };
    await expect(reading()).rejects.toThrow(message);
    expect(seen).toBeLessThanOrEqual(bytes.length - HOLD_BACK);
    await reader.close();
    await expect(fetch.finished).rejects.toThrow(message);
    expect(await blobs.stat(digest)).toBeUndefined();
  });

  it("verifies a blob of unknown size too", async () => {
    const unknown = (content: Buffer): UpstreamBody => ({ offset: 0, stream: stream(content) });
    const fetch = fetchFrom([unknown(bytes)], { asked: [] });
    expect(await fetch.opened).toBeUndefined();
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
    await expect(readAll(fetchFrom([unknown(Buffer.alloc(9))], { asked: [] }).reader())).rejects.toThrow("digest");
  });

  it("belongs to nobody: readers that leave change nothing", async () => {
    const fetch = fetchFrom([body(0, bytes.subarray(0, 200_000), 30, bytes.subarray(200_000))], { asked: [] });
    const leaver = fetch.reader();
    await leaver.read(Buffer.alloc(10));
    const pending = leaver.read(Buffer.alloc(400_000)).then(() => leaver.read(Buffer.alloc(400_000)));
    await leaver.close();
    await leaver.close();
    expect(await pending).toBe(0);
    expect((await readAll(fetch.reader())).equals(bytes)).toBe(true);
    await fetch.finished;
  });

  it("keeps its file open for a slow reader after the end", async () => {
    let closed = 0;
    const memory = createMemoryBlobStore();
    const blobs: BlobStore = {
      ...memory,
      async create() {
        const writer = await memory.create();
        return Object.defineProperties(
          {
            ...writer,
            close: async () => {
              closed += 1;
            },
          },
          { size: { get: () => writer.size } },
        );
      },
    };
    const fetch = fetchFrom([body(0, bytes)], { asked: [], blobs });
    const slow = fetch.reader();
    await slow.read(Buffer.alloc(10));
    await fetch.finished;
    expect(closed).toBe(0);
    expect((await readAll(slow)).equals(bytes.subarray(10))).toBe(true);
    expect(closed).toBe(1);
  });

  it("does not ask the upstream again when the disk fails", async () => {
    const asked: number[] = [];
    const commit = () => Promise.reject(new Error("EIO"));
    const fetch = fetchFrom([body(0, bytes)], { asked, options: { commit } });
    await expect(fetch.finished).rejects.toThrow("EIO");
    expect(asked).toEqual([0]);
  });
});
