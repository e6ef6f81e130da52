import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { createVerifier, type Verifier } from "@cache-registry/core/verify";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { BlobStore, BlobWriter, ByteRange, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { createProgress, type Progress } from "./progress.ts";

/** The end of a blob that no client sees before the digest of the whole is known to match, in bytes. */
const HOLD_BACK_BYTES = 64 * 1024;
/** How long a broken read is tried again without a single new byte before the fetch fails, in milliseconds. */
const PATIENCE_MS = 30_000;

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
  /** Milliseconds without a new byte after which a broken read is given up. */
  readonly patience?: number;
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
    verifier: createVerifier(algorithmOf(digest)),
    size: undefined,
    opened: false,
    readers: 0,
    done: false,
  };

  async function run(): Promise<void> {
    try {
      const writer = await blobs.create();
      state.writer = writer;
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
    shows: (position, signal) => progress.beyond(position, signal),
    reader: (range) => createFollower({ state, progress, range }),
  };
}

type State = {
  readonly verifier: Verifier;
  size: number | undefined;
  /** The upstream answered once. */
  opened: boolean;
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
  const backoff = createBackoff({ initial: 100, max: 2_000 });
  for (let brokenSince: number | undefined; ; ) {
    const before = state.verifier.size;
    const failure = await receiveOnce(receiving);
    if (!failure) break;
    // What never began is not resumed: the client has tried every endpoint, and somebody is waiting for an answer.
    if (!state.opened || !failure.retryable) throw failure.error;
    if (state.verifier.size > before) {
      brokenSince = undefined;
      backoff.reset();
    }
    brokenSince ??= performance.now();
    if (performance.now() - brokenSince >= (options.patience ?? PATIENCE_MS)) throw failure.error;
    await sleep(backoff.next());
    options.onResume?.(state.verifier.size);
  }
  const actual = state.verifier.digest();
  if (actual !== options.digest) {
    throw failed("the upstream sent bytes that do not match the digest", { expected: options.digest, actual });
  }
  progress.advance(state.verifier.size);
}

type Failure = { readonly error: unknown; readonly retryable: boolean };

/** Undefined when the end was reached. */
async function receiveOnce(receiving: Receiving): Promise<Failure | undefined> {
  try {
    if (await readBody(receiving)) return undefined;
    return { error: failed("the upstream ended a blob early"), retryable: true };
  } catch (error) {
    return { error, retryable: receiving.options.isRetryable(error) };
  }
}

/** True when the end was reached, false (or an error) when the body broke off. */
async function readBody({ options, state, writer, progress, opened }: Receiving): Promise<boolean> {
  const have = state.verifier.size;
  const body = await options.open(have);
  const contradiction = contradictionIn(body, have, state);
  if (!state.opened && !contradiction) {
    state.opened = true;
    state.size = body.size;
    opened(body.size);
  }
  let skip = have - body.offset;
  for await (const chunk of body.stream) {
    // Thrown in here, it also ends the stream.
    if (contradiction) throw contradiction;
    const fresh = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
    skip -= chunk.length - fresh.length;
    if (fresh.length === 0) continue;
    if (state.size !== undefined && state.verifier.size + fresh.length > state.size) {
      throw failed("the upstream sent more bytes than it announced");
    }
    await writer.write(fresh);
    state.verifier.update(fresh);
    options.onBytes?.(fresh.length);
    progress.advance(Math.max(0, Math.min(state.verifier.size, (state.size ?? state.verifier.size) - HOLD_BACK_BYTES)));
  }
  if (contradiction) throw contradiction;
  return state.size === undefined || state.verifier.size === state.size;
}

function contradictionIn(body: UpstreamBody, have: number, { opened, size }: State): CodedError | undefined {
  if (body.offset > have) return failed("the upstream left out bytes of a blob");
  const changed = opened && body.size !== undefined && size !== undefined && body.size !== size;
  return changed ? failed("the upstream changed the size of a blob between two reads") : undefined;
}

function failed(message: string, detail?: unknown): CodedError {
  return new CodedError("UPSTREAM_FAILED", message, { detail });
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
