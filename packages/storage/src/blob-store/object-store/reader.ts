import type { IncomingMessage } from "node:http";
import type { Digest } from "@cache-registry/core/digest";
import { BlobMissingError, type ByteRange, type ByteReader } from "../blob-store.ts";
import { isTransient, StoreConnectionError, StoreProtocolError, StoreResponseError, storeError } from "./errors.ts";
import type { Objects } from "./objects.ts";
import { lengthOf, sizeFrom } from "./requests.ts";

/** Milliseconds without a byte before the connection is taken for dead; only while somebody waits for one. */
const IDLE_MS = 10_000;
/** Breaks in a row without a byte between them before the reader gives up. */
const MAX_BREAKS = 5;

export type ReadObject = {
  readonly objects: Pick<Objects, "get">;
  readonly key: string;
  readonly digest: Digest;
  readonly range: ByteRange | undefined;
};

/** What is left of one answer. */
type Part = { readonly answer: IncomingMessage; readonly start: number; readonly end: number };

/**
 * Sequential reader of an object, undefined when it is not there: bytes go from the connection into the caller's buffers, and nothing is asked for ahead of
 * them but what the connection holds. A connection that breaks is continued from where it broke.
 */
export async function openObjectReader(object: ReadObject): Promise<ByteReader | undefined> {
  const { range, digest } = object;
  let position = range?.start ?? 0;
  let breaks = 0;
  let closed = false;
  const first = await openPart(object, position, range?.end);
  if (first === "absent") return undefined;
  if (first === "exhausted") return { read: async () => 0, close: async () => {} };
  const { end } = first;
  let source = createSource(first.answer);

  async function resume(error: unknown): Promise<void> {
    breaks += 1;
    if (!isTransient(error) || breaks > MAX_BREAKS) throw storeError(error);
    source.close(false);
    const part = await openPart(object, position, end - 1);
    if (part === "absent") throw new BlobMissingError(digest);
    if (part === "exhausted" || part.end !== end)
      throw new StoreProtocolError(`${digest} changed its size while it was read`);
    source = createSource(part.answer);
    // A close that came meanwhile closed the old one.
    if (closed) source.close(false);
  }

  return {
    async read(buffer) {
      while (!closed && position < end) {
        try {
          const count = await source.take(buffer.subarray(0, Math.min(buffer.byteLength, end - position)));
          if (count > 0) {
            breaks = 0;
            position += count;
            return count;
          }
          if (!closed) throw new StoreConnectionError("the object store ended an answer early");
        } catch (error) {
          if (!closed) await resume(error);
        }
      }
      return 0;
    },
    async close() {
      closed = true;
      source.close(position === end);
    },
  };
}

/** `exhausted` when nothing is left to read at `start`. @throws CodedError */
async function openPart(
  object: ReadObject,
  start: number,
  last: number | undefined,
): Promise<Part | "absent" | "exhausted"> {
  const { objects, key, digest } = object;
  const headers: Record<string, string> =
    start === 0 && last === undefined ? {} : { range: `bytes=${start}-${last ?? ""}` };
  let answer: IncomingMessage | undefined;
  try {
    answer = await objects.get(key, headers);
  } catch (error) {
    if (error instanceof StoreResponseError && error.status === 416) return "exhausted";
    throw storeError(error);
  }
  if (!answer) return "absent";
  // From here on a slow client may keep it waiting for long.
  answer.setTimeout(0);
  try {
    const extent = extentOf(answer);
    if (extent.start === start) return { answer, ...extent };
    throw new StoreProtocolError(`the object store sent ${digest} from ${extent.start} instead of ${start}`);
  } catch (error) {
    answer.destroy();
    throw error;
  }
}

/** First byte and the one after the last. */
function extentOf(answer: IncomingMessage): { start: number; end: number } {
  if (answer.statusCode !== 206) return { start: 0, end: lengthOf(answer) };
  const [, start, last] = /^bytes (\d+)-(\d+)\//.exec(answer.headers["content-range"] ?? "") ?? [];
  return { start: sizeFrom(start), end: sizeFrom(last) + 1 };
}

/** The body of an answer, copied out piece by piece. */
function createSource(answer: IncomingMessage) {
  let failure: Error | undefined;
  answer.on("error", (error) => {
    failure = new StoreConnectionError(`the connection to the object store broke: ${error.message}`, { cause: error });
  });

  /** What of a chunk did not fit. */
  let rest: Uint8Array | undefined;

  /** Bytes that are here already, as many as fit. */
  function copyInto(buffer: Uint8Array): number {
    let filled = 0;
    while (filled < buffer.byteLength) {
      // Never with a length: a stream that is asked for more than its mark raises the mark, and reads ahead from then on.
      rest ??= (answer.read() as Buffer | null) ?? undefined;
      if (!rest) break;
      const count = Math.min(rest.byteLength, buffer.byteLength - filled);
      buffer.set(rest.subarray(0, count), filled);
      filled += count;
      rest = count < rest.byteLength ? rest.subarray(count) : undefined;
    }
    return filled;
  }

  return {
    /** 0 at the end. @throws StoreConnectionError */
    async take(buffer: Uint8Array): Promise<number> {
      for (;;) {
        const count = copyInto(buffer);
        if (count > 0) return count;
        if (failure) throw failure;
        if (answer.readableEnded || answer.destroyed) return 0;
        await moved(answer);
      }
    },
    /** A connection whose answer was read to the end is used again. */
    close(whole: boolean): void {
      if (whole) answer.resume();
      else answer.destroy();
    },
  };
}

/** Waits for bytes, the end or a failure; silence is a failure. */
function moved(answer: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => answer.destroy(new Error(`nothing heard for ${IDLE_MS} ms`)), IDLE_MS);
    const done = () => {
      clearTimeout(timer);
      for (const event of ["readable", "end", "error", "close"]) answer.off(event, done);
      resolve();
    };
    for (const event of ["readable", "end", "error", "close"]) answer.on(event, done);
  });
}
