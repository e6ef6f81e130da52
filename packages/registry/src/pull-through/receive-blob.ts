import type { Digest } from "@cache-registry/core/digest";
import { CodedError, messageOf } from "@cache-registry/core/errors";
import type { Verifier } from "@cache-registry/core/verify";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { Progress } from "./progress.ts";

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

/** How a blob is read from its upstream. */
export type UpstreamRead = {
  readonly digest: Digest;
  /** Asks the upstream for the bytes from `offset` on, each time with a fresh token and a fresh redirect. */
  readonly open: (offset: number) => Promise<UpstreamBody>;
  /** May the same request succeed when asked again? */
  readonly isRetryable: (error: unknown) => boolean;
  readonly onResume?: (have: number) => void;
  /** Milliseconds without a new byte after which a broken read is given up. */
  readonly patience?: number;
  readonly onBytes?: (count: number) => void;
};

/** How far a read is: what was verified, which is also where it goes on. */
export type Reception = {
  readonly verifier: Verifier;
  size: number | undefined;
  /** The upstream answered once. */
  opened: boolean;
};

/** Our own store could not take what the upstream sent: the upstream is not to blame, and its bytes are good for clients. */
export class StoreFailure extends Error {
  override readonly name = "StoreFailure";
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

export function asStoreFailure(error: unknown): never {
  throw error instanceof StoreFailure ? error : new StoreFailure(error);
}

/** What may be shown of the first `received` bytes while the digest of the whole is not known. */
export function showable(received: number, size: number | undefined): number {
  return Math.max(0, Math.min(received, (size ?? received) - HOLD_BACK_BYTES));
}

export type Receiving = {
  readonly read: UpstreamRead;
  readonly state: Reception;
  /** Takes the bytes, in order, each once. */
  readonly write: (chunk: Uint8Array) => Promise<void>;
  readonly progress: Progress;
  readonly opened?: (size: number | undefined) => void;
};

/**
 * Reads the upstream to its end, resuming breaks with Range while the clients stay attached. At its end the digest matches.
 * @throws CodedError UPSTREAM_FAILED when it does not, and whatever `write` and `open` throw
 */
export async function receiveBlob(receiving: Receiving): Promise<void> {
  const { read, state, progress } = receiving;
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
    if (performance.now() - brokenSince >= (read.patience ?? PATIENCE_MS)) throw failure.error;
    await sleep(backoff.next());
    read.onResume?.(state.verifier.size);
  }
  const { size } = state.verifier;
  const actual = state.verifier.digest();
  if (actual !== read.digest) {
    throw failed("the upstream sent bytes that do not match the digest", { expected: read.digest, actual });
  }
  progress.advance(size);
}

type Failure = { readonly error: unknown; readonly retryable: boolean };

/** Undefined when the end was reached. */
async function receiveOnce(receiving: Receiving): Promise<Failure | undefined> {
  try {
    if (await readBody(receiving)) return undefined;
    return { error: failed("the upstream ended a blob early"), retryable: true };
  } catch (error) {
    return { error, retryable: receiving.read.isRetryable(error) };
  }
}

/** True when the end was reached, false (or an error) when the body broke off. */
async function readBody({ read, state, write, progress, opened }: Receiving): Promise<boolean> {
  const have = state.verifier.size;
  const body = await read.open(have);
  const contradiction = contradictionIn(body, have, state);
  if (!state.opened && !contradiction) {
    state.opened = true;
    state.size ??= body.size;
    opened?.(body.size);
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
    await write(fresh);
    state.verifier.update(fresh);
    read.onBytes?.(fresh.length);
    progress.advance(showable(state.verifier.size, state.size));
  }
  if (contradiction) throw contradiction;
  return state.size === undefined || state.verifier.size === state.size;
}

function contradictionIn(body: UpstreamBody, have: number, { size }: Reception): CodedError | undefined {
  if (body.offset > have) return failed("the upstream left out bytes of a blob");
  const changed = body.size !== undefined && size !== undefined && body.size !== size;
  return changed ? failed("the upstream changed the size of a blob between two reads") : undefined;
}

function failed(message: string, detail?: unknown): CodedError {
  return new CodedError("UPSTREAM_FAILED", message, { detail });
}
