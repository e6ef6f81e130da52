import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BlobMissingError, type ByteReader } from "../blob-store.ts";
import { content, readAll, sha256 } from "../conformance/fixtures.ts";
import { openObjectReader } from "./reader.ts";
import { createRequests, type Requests } from "./requests.ts";
import { answer, cut, cutBody, refusal, type ScriptedServer, startScriptedServer } from "./test-server.ts";

const bytes = content(300_000);
const digest = sha256(bytes);
let server: ScriptedServer;
let requests: Requests;
beforeAll(async () => {
  server = await startScriptedServer();
  requests = createRequests({ endpoint: server.url, codeOf: () => undefined });
});
afterAll(async () => {
  requests.close();
  await server.close();
});

async function get(key: string, headers: Readonly<Record<string, string>>) {
  const request = async () => ({ method: "GET" as const, url: new URL(key, server.url), headers });
  const answered = await requests.send({ method: "GET", what: key, request, accept: (status) => status === 404 });
  return answered.statusCode === 404 ? undefined : answered;
}

async function open(range?: { start: number; end: number }): Promise<ByteReader> {
  const reader = await openObjectReader({ objects: { get }, key: "k", digest, range });
  if (!reader) throw new BlobMissingError(digest);
  return reader;
}
const ranges = () => server.seen.map(({ headers }) => headers.range);
const whole = { "content-length": String(bytes.length) };
const from = (start: number, end = bytes.length - 1, total = bytes.length) => ({
  "content-range": `bytes ${start}-${end}/${total}`,
  "content-length": String(end + 1 - start),
});

describe("object reader", () => {
  it("goes on where a connection broke, as often as bytes come", async () => {
    server.script(
      cutBody(200, bytes.subarray(0, 100_000), whole),
      refusal(503, "SlowDown"),
      cutBody(206, bytes.subarray(100_000, 250_000), from(100_000)),
      answer(206, bytes.subarray(250_000), from(250_000)),
    );
    const reader = await open();
    expect((await readAll(reader, 70_000)).equals(bytes)).toBe(true);
    await reader.close();
    const last = bytes.length - 1;
    expect(ranges()).toEqual([undefined, `bytes=100000-${last}`, `bytes=100000-${last}`, `bytes=250000-${last}`]);
  });

  it("goes on within a range", async () => {
    server.script(
      cutBody(206, bytes.subarray(10, 50), from(10, 99)),
      answer(206, bytes.subarray(50, 100), from(50, 99)),
    );
    const reader = await open({ start: 10, end: 99 });
    expect((await readAll(reader)).equals(bytes.subarray(10, 100))).toBe(true);
    expect(ranges()).toEqual(["bytes=10-99", "bytes=50-99"]);
  });

  it("gives up when nothing comes any more", async () => {
    server.script(cutBody(200, bytes.subarray(0, 1_000), whole), cut);
    const reader = await open();
    await expect(readAll(reader)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await reader.close();
  });

  it.each([
    ["starts elsewhere", answer(206, bytes.subarray(0, 10), from(0, 9))],
    ["ignores the range", answer(200, bytes, whole)],
    ["changed its size", answer(206, bytes.subarray(1_000, 2_000), from(1_000, 1_999, 2_000))],
  ])("takes no bytes of an answer that %s", async (_what, second) => {
    server.script(cutBody(200, bytes.subarray(0, 1_000), whole), second);
    const reader = await open();
    await expect(readAll(reader)).rejects.toThrow(/^the object store sent sha256|changed its size/);
    await reader.close();
  });

  it("reads no further than its reader", async () => {
    const big = Buffer.alloc(64 * 2 ** 20);
    let drained = false;
    server.script((response) => {
      response.writeHead(200, { "content-length": String(big.length) });
      response.write(big, () => {
        drained = true;
      });
    });
    const reader = await open();
    const count = await reader.read(Buffer.alloc(1_000));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect([count, drained]).toEqual([1_000, false]);
    await reader.close();
  });

  it("ends a read that waits when it is closed", async () => {
    const held = Promise.withResolvers<unknown>();
    server.script((response) => {
      response.writeHead(200, whole).flushHeaders();
      held.resolve(once(response, "close"));
    });
    const reader = await open();
    const reading = reader.read(Buffer.alloc(10));
    await reader.close();
    expect(await reading).toBe(0);
    await held.promise;
    expect(server.seen).toHaveLength(1);
  });

  it("uses the connection of an answer that was read to the end again", async () => {
    const sockets = new Set<unknown>();
    server.script((response) => {
      sockets.add(response.socket);
      response.writeHead(200, whole).end(bytes);
    });
    for (let round = 0; round < 5; round += 1) {
      const reader = await open();
      await readAll(reader, 64_000);
      await reader.close();
      await new Promise(setImmediate);
    }
    expect(sockets.size).toBeLessThan(3);
  });
});

it("tells a missing object from one of which nothing is left to read", async () => {
  server.script(answer(404));
  await expect(open()).rejects.toThrow(BlobMissingError);
  server.script(answer(416));
  expect(await readAll(await open({ start: 300_000, end: 300_001 }))).toHaveLength(0);
});
