import type { Verifier } from "@cache-registry/core/verify";
import type { BlobWriter } from "@cache-registry/storage/blob-store/blob-store";

/** A system call takes so many buffers at most (IOV_MAX); a body may come in very small pieces. */
const MAX_CHUNKS = 512;
/** After so many milliseconds the bytes of a slow client are written, however few they are. */
const PATIENCE_MS = 100;

export type WriteBody = {
  /** Its chunks are given up: their memory is freed when they are written. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly writer: BlobWriter;
  readonly verifier: Verifier;
  /** Bytes that go to the disk together, asked for each batch. Twice as many are held in memory. */
  readonly batchBytes: () => number;
};

/**
 * Receives and hashes the next batch while the last one is on its way to the disk: a few large writes cost a fraction of many
 * small ones. What arrived of a body that breaks off is written too.
 * @throws the error of the body, or of the writer; after the latter the verifier has seen more than is written.
 */
export async function writeBody({ body, writer, verifier, batchBytes }: WriteBody): Promise<void> {
  let writing = Promise.resolve();
  let batch: Uint8Array[] = [];
  let bytes = 0;

  async function writeBatch(): Promise<void> {
    if (bytes === 0) return;
    const taken = batch;
    batch = [];
    bytes = 0;
    await writer.write(taken);
    for (const chunk of taken) free(chunk);
  }
  /** Resolves when the batch before this one is written: then this one is being written. */
  function flush(): Promise<void> {
    const previous = writing;
    writing = previous.then(writeBatch);
    // Whoever waits for the next batch or for the end hears of a failure.
    writing.catch(() => undefined);
    return previous;
  }

  const timer = setInterval(() => void flush(), PATIENCE_MS);
  try {
    for await (const chunk of body) {
      verifier.update(chunk);
      batch.push(chunk);
      bytes += chunk.byteLength;
      if (bytes >= batchBytes() || batch.length === MAX_CHUNKS) await flush();
    }
  } finally {
    clearInterval(timer);
    await flush();
    await writing;
  }
}

/**
 * Gives the memory of a chunk back now. The chunks of a request are allocated outside of the heap, and for every 64 MiB of
 * them the engine would mark all of it to find out which are dead: more work than hashing them.
 */
function free({ buffer, byteLength }: Uint8Array): void {
  // A part of something larger is not ours alone.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
