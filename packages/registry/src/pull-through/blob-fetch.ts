import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { createVerifier, type Verifier } from "@cache-registry/core/verify";
import { type Backoff, createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { BlobStore, BlobWriter, ByteRange, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { createProgress, type Progress } from "./progress.ts";

/** The end of a blob that no client sees before the digest of the whole is known to match, in bytes. */
const HOLD_BACK_BYTES = 64 * 1024;
/** Breaks in a row without a single new byte before the fetch fails. */
const MAX_FRUITLESS_ATTEMPTS = 4;

/** One answer of the upstream. `offset` is where its stream really starts: 0 when it ignored the range. */
export type UpstreamBody = {
  readonly offset: number;
  /** Size of the whole blob in bytes, undefined when the upstream does not say. */
  readonly size?: number | undefined;
  readonly stream: AsyncIterable<Uint8Array>;
};

export type BlobFetchOptions = {
  readonly digest: Digest;
  readonly blobs: BlobStore;
  /** Asks the upstream for the bytes from `offset` on, each time with a fresh token and a fresh redirect. */
  readonly open: (offset: number) => Promise<UpstreamBody>;
  /** The verified bytes are in `writer`: commit and link them. */
  readonly commit: (writer: BlobWriter, size: number) => Promise<void>;
  /** May the same request succeed when asked again? */
  readonly isRetryable: (error: unknown) => boolean;
  readonly onResume?: (have: number) => void;
  readonly onBytes?: (count: number) => void;
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
  /** The blob is in the store and linked. */
  readonly finished: Promise<void>;
  /** Reads `range` (the whole without one); waits for bytes that are still to come. */
  reader(range?: ByteRange): ByteReader;
};

export function startBlobFetch(options: BlobFetchOptions): BlobFetch {
  const { digest, blobs } = options;
  const opened = Promise.withResolvers<number | undefined>();
  const progress = createProgress();
  const state: State = { verifier: createVerifier(algorithmOf(digest)), size: undefined, readers: 0, done: false };

  async function run(): Promise<void> {
    const writer = await blobs.create();
    state.writer = writer;
    try {
      await receive({ options, state, writer, progress, opened: opened.resolve });
      await options.commit(writer, writer.size);
      progress.finish();
    } catch (error) {
      progress.fail(error instanceof Error ? error : new Error(String(error)));
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
    reader: (range) => createFollower({ state, progress, range }),
  };
}

type State = {
  readonly verifier: Verifier;
  size: number | undefined;
  writer?: BlobWriter;
  readers: number;
  done: boolean;
};

type Receiving = {
  readonly options: BlobFetchOptions;
  readonly state: State;
  readonly writer: BlobWriter;
  readonly progress: Progress;
  readonly opened: (size: number | undefined) => void;
};

/** Reads the upstream to its end, resuming breaks with Range while the clients stay attached. */
async function receive(receiving: Receiving): Promise<void> {
  const { options, state, progress } = receiving;
  const backoff = createBackoff({ initial: 100, max: 5_000 });
  for (let fruitless = 0; ; ) {
    const before = state.verifier.size;
    try {
      if (await receiveOnce(receiving)) break;
    } catch (error) {
      if (!options.isRetryable(error)) throw error;
      fruitless = state.verifier.size > before ? 0 : fruitless + 1;
      if (fruitless >= MAX_FRUITLESS_ATTEMPTS) throw error;
    }
    await pauseBeforeResume(backoff, state.verifier.size > before);
    options.onResume?.(state.verifier.size);
  }
  const actual = state.verifier.digest();
  if (actual !== options.digest) {
    throw new CodedError("UPSTREAM_FAILED", "the upstream sent bytes that do not match the digest", {
      detail: { expected: options.digest, actual },
    });
  }
  progress.advance(state.verifier.size);
}

async function pauseBeforeResume(backoff: Backoff, progressed: boolean): Promise<void> {
  if (progressed) backoff.reset();
  await sleep(backoff.next());
}

/** True when the end was reached, false (or an error) when the body broke off. */
async function receiveOnce({ options, state, writer, progress, opened }: Receiving): Promise<boolean> {
  const have = state.verifier.size;
  const body = await options.open(have);
  if (have === 0 && state.size === undefined) {
    state.size = body.size;
    opened(body.size);
  } else if (body.size !== undefined && state.size !== undefined && body.size !== state.size) {
    throw new CodedError("UPSTREAM_FAILED", "the upstream changed the size of a blob between two reads");
  }
  let skip = have - body.offset;
  for await (const chunk of body.stream) {
    const fresh = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
    skip -= chunk.length - fresh.length;
    if (fresh.length === 0) continue;
    if (state.size !== undefined && state.verifier.size + fresh.length > state.size) {
      throw new CodedError("UPSTREAM_FAILED", "the upstream sent more bytes than it announced");
    }
    await writer.write(fresh);
    state.verifier.update(fresh);
    options.onBytes?.(fresh.length);
    progress.advance(Math.max(0, Math.min(state.verifier.size, (state.size ?? state.verifier.size) - HOLD_BACK_BYTES)));
  }
  return state.size === undefined || state.verifier.size === state.size;
}

async function closeWhenUnused(state: State): Promise<void> {
  if (state.done && state.readers === 0) await state.writer?.close();
}

/** A client's view: reads from disk up to what may be seen, then waits. */
function createFollower({
  state,
  progress,
  range,
}: {
  state: State;
  progress: Progress;
  range: ByteRange | undefined;
}): ByteReader {
  let position = range?.start ?? 0;
  const end = range === undefined ? Number.POSITIVE_INFINITY : range.end + 1;
  const closing = new AbortController();
  state.readers += 1;
  return {
    async read(buffer) {
      while (position < end && !closing.signal.aborted) {
        const readable = Math.min(progress.readable, end) - position;
        if (readable > 0 && state.writer) {
          const count = await state.writer.readAt(buffer.subarray(0, Math.min(readable, buffer.length)), position);
          position += count;
          return count;
        }
        if (progress.ended) return 0;
        await progress.beyond(position, closing.signal);
      }
      return 0;
    },
    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      state.readers -= 1;
      await closeWhenUnused(state);
    },
  };
}
