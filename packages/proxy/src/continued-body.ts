import type { Readable } from "node:stream";
import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { createVerifier } from "@cache-registry/core/verify";

/** A continuous part of a blob. */
export type BlobPlace = {
  readonly start: number;
  /** Exclusive; undefined where nobody knows it. */
  readonly end: number | undefined;
  /** Of the whole blob, when told. */
  readonly size: number | undefined;
};

/** A part of a blob as one source sends it. */
export type BlobPart = {
  /** Position in the blob where the stream starts; may be before the one that was asked for. */
  readonly offset: number;
  readonly stream: Readable;
  /** Of the whole blob, when told. */
  readonly size: number | undefined;
  /** Where it comes from, for logs. */
  readonly source: "cache" | "upstream";
};

export type ContinuedBodyOptions = {
  readonly first: BlobPart;
  /** What the body shall hold. */
  readonly place: BlobPlace;
  /** Continues from a position, the same bytes of the same digest. @throws when no source can */
  readonly reopen: (position: number) => Promise<BlobPart>;
  /** Told of each break that is continued. */
  readonly onBreak?: (position: number, error: unknown) => void;
  readonly signal: AbortSignal;
};

/** Breaks in a row without a byte in between. */
const MAX_FRUITLESS_BREAKS = 3;

class EndedEarlyError extends Error {
  override readonly name = "EndedEarlyError";
}

/** One body out of as many parts as it takes: where one breaks, the next goes on at the same position. */
export async function* continuedBody(options: ContinuedBodyOptions): AsyncGenerator<Buffer> {
  const { first, place, reopen, onBreak, signal } = options;
  const { end } = place;
  let position = place.start;
  let part = first;
  let fruitless = 0;
  for (;;) {
    try {
      let at = part.offset;
      for await (const chunk of part.stream as AsyncIterable<Buffer>) {
        // What comes before the position or after the end is dropped, so that each byte comes once.
        const useful = chunk.subarray(Math.max(0, position - at), end === undefined ? undefined : end - at);
        at += chunk.length;
        if (useful.length > 0) {
          // Before the chunk is given away: its memory may be gone afterwards.
          position += useful.length;
          fruitless = 0;
          yield useful;
        }
        if (end !== undefined && at >= end) return;
      }
      if (end !== undefined && at < end) throw new EndedEarlyError(`ended at ${at} instead of ${end}`);
      return;
    } catch (error) {
      signal.throwIfAborted();
      fruitless += 1;
      // Of a body without a known end nobody can say what is missing.
      if (end === undefined || fruitless > MAX_FRUITLESS_BREAKS) throw error;
      onBreak?.(position, error);
      part = await reopen(position);
    }
  }
}

export class WrongDigestError extends Error {
  override readonly name = "WrongDigestError";
}

/** Passes a whole blob on, but its last chunk only when the digest is right: wrong bytes are never sent whole. */
export async function* verifiedBody(body: AsyncIterable<Buffer>, digest: Digest): AsyncGenerator<Buffer> {
  const verifier = createVerifier(algorithmOf(digest));
  let held: Buffer | undefined;
  for await (const chunk of body) {
    verifier.update(chunk);
    if (held) yield held;
    held = chunk;
  }
  if (verifier.digest() !== digest) throw new WrongDigestError(`the content is not what ${digest} says`);
  if (held) yield held;
}
