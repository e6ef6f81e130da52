import { pipeline, type Readable, Transform } from "node:stream";
import { failureOf } from "./failure.ts";
import { UpstreamError } from "./upstream-error.ts";

export type BlobStreamOptions = {
  readonly registry: string;
  /** Where in the blob the body starts. */
  readonly offset: number;
  /** Of the whole blob, when known. */
  readonly size: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with each chunk's length. */
  readonly onBytes?: ((count: number) => void) | undefined;
  /** Called once when the stream ends in whatever way. */
  readonly onEnd: () => void;
  /** Called when what the upstream sent broke off, stood still or made no sense. */
  readonly onBroken?: (() => void) | undefined;
};

/**
 * A body as a stream that fails with an UpstreamError on a break, a stall, or another length than announced. Its bytes are
 * not verified.
 */
export function createBlobStream(body: Readable, options: BlobStreamOptions): Readable {
  const { registry, offset, size, signal, onBytes, onEnd, onBroken } = options;
  let position = offset;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      position += chunk.length;
      onBytes?.(chunk.length);
      if (size !== undefined && position > size) {
        done(new UpstreamError("sends more bytes than announced", { kind: "invalid", registry }));
      } else done(null, chunk);
    },
    flush(done) {
      if (size === undefined || position === size) done();
      else done(new UpstreamError("the answer ended early", { kind: "unreachable", registry }));
    },
    destroy(error, done) {
      if (error === null) done(null);
      else if (signal?.aborted) done(signal.reason instanceof Error ? signal.reason : error);
      else {
        onBroken?.();
        done(failureOf(error, registry));
      }
    },
  });
  // Whoever reads it learns of a failure; one that comes before anyone does must not end the process.
  stream.on("error", () => undefined);
  pipeline(body, stream, () => onEnd());
  return stream;
}
