import { once } from "node:events";
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { buffer as readBuffer } from "node:stream/consumers";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createBufferPool } from "@cache-registry/runtime/buffer-pool";
import type { ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { afterEach, describe, expect, it } from "vitest";
import { sendBytes } from "./send-bytes.ts";

const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 11) % 253));

/** Reads from memory; `before` may delay or fail each read. */
function readerOf(bytes: Buffer, before: (position: number) => Promise<void> | void = () => {}) {
  const state = { closed: 0, reading: 0 };
  let position = 0;
  const reader: ByteReader = {
    async read(target) {
      state.reading += 1;
      try {
        await before(position);
        const count = bytes.copy(target, 0, position);
        position += count;
        return count;
      } finally {
        state.reading -= 1;
      }
    },
    async close() {
      state.closed += 1;
    },
  };
  return { reader, state };
}

describe("sendBytes", () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  /** Starts a server that handles one request, and a client of it. */
  async function connect(handle: (response: ServerResponse) => Promise<void>) {
    const handled = Promise.withResolvers<void>();
    server = createServer((_request, response) => {
      handle(response).then(handled.resolve, handled.reject);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const asking = get(`http://127.0.0.1:${port}/`, { agent: false });
    asking.on("error", () => undefined);
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    return { answer, handled: handled.promise };
  }

  it("sends every byte, of known and unknown length, and gives the buffers back", async () => {
    const pool = createBufferPool();
    for (const length of [content.length, undefined]) {
      const { reader, state } = readerOf(content);
      const { answer, handled } = await connect(async (response) => {
        const lease = pool.lease();
        if (!lease) throw new Error("the pool is spent");
        response.flushHeaders();
        expect(await sendBytes({ reader, response, lease, length })).toBe(content.length);
        response.end();
        lease.release();
      });
      expect((await readBuffer(answer)).equals(content)).toBe(true);
      await handled;
      expect([state.closed, pool.inUse]).toEqual([1, 0]);
      server?.close();
    }
  });

  it("waits for a read that is under way when the client leaves, before the buffers go to somebody else", async () => {
    const pool = createBufferPool();
    const late = Promise.withResolvers<void>();
    const { reader, state } = readerOf(content, (position) => (position > 0 ? late.promise : undefined));
    let done = false;
    const { answer, handled } = await connect(async (response) => {
      const lease = pool.lease();
      if (!lease) throw new Error("the pool is spent");
      response.flushHeaders();
      const sent = await sendBytes({ reader, response, lease, length: content.length });
      done = true;
      expect(sent).toBeLessThan(content.length);
      expect(state.reading).toBe(0);
      lease.release();
    });
    await once(answer, "data");
    answer.destroy();
    await expect.poll(() => state.closed).toBe(1);
    expect([done, state.reading]).toEqual([false, 1]);
    late.resolve();
    await handled;
    expect([done, pool.inUse]).toEqual([true, 0]);
  });

  it("keeps nothing for each chunk while the stream goes on", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    const heapAfter = { warm: 0, end: 0 };
    const reads = 60_000;
    let read = 0;
    const reader: ByteReader = {
      async read() {
        read += 1;
        if (read !== 1_000 && read !== reads) return 1;
        collectGarbage();
        heapAfter[read === reads ? "end" : "warm"] = process.memoryUsage().heapUsed;
        return 1;
      },
      close: async () => {},
    };
    const lease = createBufferPool().lease();
    if (!lease) throw new Error("the pool is spent");
    const { answer, handled } = await connect(async (response) => {
      response.flushHeaders();
      await sendBytes({ reader, response, lease, length: reads });
      response.end();
    });
    answer.resume();
    await handled;
    expect(heapAfter.end - heapAfter.warm).toBeLessThan(5e6);
  });

  it("stops reading when the client leaves", async () => {
    let reads = 0;
    const { reader, state } = readerOf(Buffer.alloc(200_000_000), () => {
      reads += 1;
    });
    const lease = createBufferPool().lease();
    if (!lease) throw new Error("the pool is spent");
    const { answer, handled } = await connect(async (response) => {
      response.flushHeaders();
      await sendBytes({ reader, response, lease, length: 200_000_000 });
    });
    await once(answer, "data");
    answer.destroy();
    await handled;
    expect(state.closed).toBe(1);
    expect(reads).toBeLessThan(700);
  });

  it.each([
    ["ends early", readerOf(content.subarray(0, 100_000)), "ended early"],
    ["fails", readerOf(content, (position) => (position > 0 ? Promise.reject(new Error("EIO")) : undefined)), "EIO"],
  ])("rejects when the content %s", async (_what, { reader, state }, message) => {
    const lease = createBufferPool().lease();
    if (!lease) throw new Error("the pool is spent");
    const { answer, handled } = await connect(async (response) => {
      response.flushHeaders();
      await expect(sendBytes({ reader, response, lease, length: content.length })).rejects.toThrow(message);
      response.destroy();
    });
    await expect(readBuffer(answer)).rejects.toThrow("aborted");
    await handled;
    expect(state.closed).toBe(1);
  });
});
