import { Readable } from "node:stream";
import { digestOfBytes } from "@cache-registry/core/verify";
import { describe, expect, it } from "vitest";
import { type BlobPart, type BlobPlace, continuedBody, verifiedBody } from "./continued-body.ts";

const blob = Buffer.from("0123456789");
const never = new AbortController().signal;

/** A part that sends `blob` from `offset` in pieces of three and breaks at `until`. */
function part(offset: number, until?: number): BlobPart {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = offset; at < (until ?? blob.length); at += 3) {
      yield blob.subarray(at, Math.min(at + 3, until ?? blob.length));
    }
    if (until !== undefined) throw new Error("cut");
  }
  return { offset, size: blob.length, stream: Readable.from(pieces(), { objectMode: false }), source: "cache" };
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of body) text += chunk.toString();
  return text;
}

const whole: BlobPlace = { start: 0, end: 10, size: 10 };

describe("continuedBody", () => {
  it("goes on where a part breaks, as often as there is progress", async () => {
    const asked: number[] = [];
    const reopen = async (position: number) => {
      asked.push(position);
      return part(position, position < 8 ? position + 1 : undefined);
    };
    const body = continuedBody({ first: part(0, 4), place: whole, reopen, signal: never });
    expect(await textOf(body)).toBe("0123456789");
    expect(asked).toEqual([4, 5, 6, 7, 8]);
  });

  it("drops what comes before the position and after the end", async () => {
    const reopen = async () => part(0);
    const place = { start: 2, end: 8, size: 10 };
    expect(await textOf(continuedBody({ first: part(0, 5), place, reopen, signal: never }))).toBe("234567");
  });

  it("takes a quiet end before the announced one as a break", async () => {
    const first = { ...part(0), stream: Readable.from([blob.subarray(0, 4)], { objectMode: false }) };
    const body = continuedBody({ first, place: whole, reopen: async (at) => part(at), signal: never });
    expect(await textOf(body)).toBe("0123456789");
  });

  it("gives up after three breaks without progress", async () => {
    let asked = 0;
    const reopen = async (position: number) => {
      asked += 1;
      return part(position, position);
    };
    await expect(textOf(continuedBody({ first: part(0, 4), place: whole, reopen, signal: never }))).rejects.toThrow(
      "cut",
    );
    expect(asked).toBe(3);
  });

  it("does not continue what has no known end, nor for a client that left", async () => {
    const reopen = async (position: number) => part(position);
    const place = { start: 0, end: undefined, size: undefined };
    await expect(textOf(continuedBody({ first: part(0, 4), place, reopen, signal: never }))).rejects.toThrow("cut");
    const left = AbortSignal.abort(new Error("left"));
    await expect(textOf(continuedBody({ first: part(0, 4), place: whole, reopen, signal: left }))).rejects.toThrow(
      "left",
    );
  });
});

describe("verifiedBody", () => {
  const chunks = (...texts: string[]) => Readable.from(texts.map((text) => Buffer.from(text)));

  it("passes the right bytes on", async () => {
    expect(await textOf(verifiedBody(chunks("01234", "56789"), digestOfBytes(blob)))).toBe("0123456789");
    expect(await textOf(verifiedBody(chunks(), digestOfBytes(Buffer.alloc(0))))).toBe("");
  });

  it("keeps the last chunk of wrong ones back", async () => {
    const seen: string[] = [];
    const read = async () => {
      for await (const chunk of verifiedBody(chunks("01", "23", "xx"), digestOfBytes(blob)))
        seen.push(chunk.toString());
    };
    await expect(read()).rejects.toThrow("sha256:");
    expect(seen).toEqual(["01", "23"]);
  });
});
