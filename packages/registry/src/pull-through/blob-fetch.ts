import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { createVerifier } from "@cache-registry/core/verify";
import type { BlobStore, BlobWriter, ByteRange, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { passOn } from "./pass-on.ts";
import { createProgress, type Progress } from "./progress.ts";
import { asStoreFailure, type Reception, receiveBlob, StoreFailure, type UpstreamRead } from "./receive-blob.ts";

export type BlobFetchOptions = UpstreamRead & {
  readonly blobs: Pick<BlobStore, "create">;
  /** The verified bytes are in `writer`: commit and link them. */
  readonly commit: (writer: BlobWriter, size: number) => Promise<void>;
};

/**
 * One upstream read of one blob: written to disk as it arrives, hashed on the way, read by any number of clients at their
 * own pace from what is on disk. It belongs to no client: whoever leaves, it goes on.
 */
export type BlobFetch = {
  readonly digest: Digest;
  /** Bytes on disk so far. */
  readonly received: number;
  /** False once it ended, well or not: then its bytes are in the store, or the next request asks anew. */
  readonly active: boolean;
  /** The upstream answered: size of the whole in bytes, or undefined. Rejects when it never does. */
  readonly opened: Promise<number | undefined>;
  /** The blob is in the store and linked. @throws StoreFailure when the store could not take it, and what the upstream did */
  readonly finished: Promise<void>;
  /** The store failed: readers go on with upstream reads of their own, also those that are made from now on. */
  readonly passesOn: boolean;
  /** Announced by the upstream, in bytes. */
  readonly size: number | undefined;
  /** Resolves when the byte at `position` may be shown, or when the signal aborts. Rejects when the fetch fails first. */
  shows(position: number, signal: AbortSignal): Promise<void>;
  /** Reads `range` (the whole without one); waits for bytes that are still to come. */
  reader(range?: ByteRange): ByteReader;
};

export function startBlobFetch(options: BlobFetchOptions): BlobFetch {
  const { digest, blobs } = options;
  const opened = Promise.withResolvers<number | undefined>();
  const progress = createProgress();
  const state: State = {
    read: options,
    verifier: createVerifier(algorithmOf(digest)),
    size: undefined,
    opened: false,
    readers: 0,
    done: false,
    closed: false,
    passesOn: false,
  };

  async function run(): Promise<void> {
    let verified = false;
    try {
      const writer = await blobs.create().catch(asStoreFailure);
      state.writer = writer;
      const write = (chunk: Uint8Array): Promise<void> => writer.write(chunk).catch(asStoreFailure);
      await receiveBlob({ read: options, state, write, progress, opened: opened.resolve });
      verified = true;
      await options.commit(writer, writer.size).catch(asStoreFailure);
      progress.finish();
    } catch (error) {
      state.passesOn = error instanceof StoreFailure;
      // Those who read now have a right to bytes that are verified, wherever these end up.
      if (verified) progress.finish();
      else progress.fail(error instanceof Error ? error : new Error(String(error)));
      opened.reject(error);
      throw error;
    } finally {
      state.done = true;
      await closeWhenUnused(state);
    }
  }

  const finished = run();
  // Clients see the failure through their readers; nobody has to wait for the end.
  finished.catch(() => undefined);
  opened.promise.catch(() => undefined);
  return {
    digest,
    get received() {
      return state.verifier.size;
    },
    get active() {
      return !state.done;
    },
    opened: opened.promise,
    finished,
    get passesOn() {
      return state.passesOn;
    },
    get size() {
      return state.size;
    },
    shows: (position, signal) => progress.beyond(position, signal),
    reader: (range) => createFollower({ state, progress, range }),
  };
}

type State = Reception & {
  readonly read: UpstreamRead;
  writer?: BlobWriter;
  readers: number;
  done: boolean;
  closed: boolean;
  passesOn: boolean;
};

async function closeWhenUnused(state: State): Promise<void> {
  if (!state.done || state.readers > 0 || state.closed) return;
  state.closed = true;
  await state.writer?.close();
}

type Follower = {
  readonly state: State;
  readonly progress: Progress;
  readonly range: ByteRange | undefined;
};

/** A client's view: reads from disk up to what may be seen, then waits; without a store it goes on by itself. */
function createFollower({ state, progress, range }: Follower): ByteReader {
  let position = range?.start ?? 0;
  const end = range === undefined ? Number.POSITIVE_INFINITY : range.end + 1;
  const closing = new AbortController();
  // With the last reader of a failed fetch its file went.
  const late = state.closed && state.passesOn;
  let passing = late ? goOn() : undefined;
  if (!late) state.readers += 1;

  function readAt(buffer: Uint8Array, from: number): Promise<number> {
    return state.writer?.readAt(buffer, from) ?? Promise.resolve(0);
  }

  function goOn(): ByteReader {
    const { read, size } = state;
    const verifier = late ? createVerifier(state.verifier.algorithm) : state.verifier.clone();
    return passOn({ read, held: { size: verifier.size, readAt }, verifier, size, position, end });
  }

  /** Waits for more; false when there will be none. */
  async function more(): Promise<boolean> {
    if (progress.ended) return false;
    try {
      await progress.beyond(position, closing.signal);
    } catch (error) {
      if (!(error instanceof StoreFailure)) throw error;
      passing = goOn();
    }
    return true;
  }

  return {
    async read(buffer) {
      while (position < end && !closing.signal.aborted) {
        if (passing) return passing.read(buffer);
        const readable = Math.min(progress.readable, end) - position;
        if (readable > 0 && state.writer) {
          const count = await readAt(buffer.subarray(0, Math.min(readable, buffer.length)), position);
          position += count;
          return count;
        }
        if (!(await more())) return 0;
      }
      return 0;
    },
    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      await passing?.close();
      if (!late) state.readers -= 1;
      await closeWhenUnused(state);
    },
  };
}
