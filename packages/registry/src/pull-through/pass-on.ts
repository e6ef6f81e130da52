import type { Verifier } from "@cache-registry/core/verify";
import type { ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { createProgress } from "./progress.ts";
import { receiveBlob, showable, type UpstreamRead } from "./receive-blob.ts";

/** Bytes of one client on their way in memory: what is held back until the digest matches, and some to go on with. */
const BUFFER_BYTES = 192 * 1024;

export type PassingOn = {
  readonly read: UpstreamRead;
  /** What a fetch has left on disk of the start of the blob; empty: nothing. */
  readonly held: { readonly size: number; readAt(buffer: Uint8Array, position: number): Promise<number> };
  /** State of the hash after the bytes that are held; it becomes ours. */
  readonly verifier: Verifier;
  readonly size: number | undefined;
  /** The first byte that the client wants, and the one after the last. */
  readonly position: number;
  readonly end: number;
};

/**
 * One client's own read of a blob that cannot be stored: from the upstream through a little memory to the client, as fast
 * as the client reads. The hash goes on where that of the held bytes stopped, so the end is shown only when the whole matches.
 */
export function passOn({ read, held, verifier, size, position: start, end }: PassingOn): ByteReader {
  const progress = createProgress();
  const closing = new AbortController();
  const queue: Uint8Array[] = [];
  let position = start;
  let buffered = 0;
  let taken: (() => void) | undefined;

  /** Waits while the client has enough to read. */
  async function write(chunk: Uint8Array): Promise<void> {
    while (buffered > BUFFER_BYTES && !closing.signal.aborted) {
      await new Promise<void>((resolve) => {
        taken = resolve;
      });
    }
    // Ends the upstream's stream as well.
    closing.signal.throwIfAborted();
    // What the client does not want is only hashed.
    const next = Math.max(position, held.size) + buffered;
    const wanted = chunk.subarray(Math.max(0, Math.min(chunk.length, next - verifier.size)));
    if (wanted.length === 0) return;
    queue.push(wanted);
    buffered += wanted.length;
  }

  function take(buffer: Uint8Array): number {
    const [first] = queue;
    if (!first) return 0;
    const count = Math.min(first.length, buffer.length);
    buffer.set(first.subarray(0, count));
    if (count === first.length) queue.shift();
    else queue[0] = first.subarray(count);
    buffered -= count;
    taken?.();
    return count;
  }

  async function run(): Promise<void> {
    try {
      await receiveBlob({ read, state: { verifier, size, opened: held.size > 0 }, write, progress });
      progress.finish();
    } catch (error) {
      progress.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  progress.advance(showable(held.size, size));
  void run();
  return {
    async read(buffer) {
      while (position < end && !closing.signal.aborted) {
        const readable = Math.min(progress.readable, end) - position;
        if (readable > 0) {
          const part = buffer.subarray(0, Math.min(readable, buffer.length));
          const count =
            position < held.size
              ? await held.readAt(part.subarray(0, Math.min(part.length, held.size - position)), position)
              : take(part);
          position += count;
          return count;
        }
        if (progress.ended) return 0;
        await progress.beyond(position, closing.signal);
      }
      return 0;
    },
    async close() {
      closing.abort(new Error("the client left"));
      taken?.();
    },
  };
}
