import type { ServerResponse } from "node:http";
import type { BufferLease } from "@cache-registry/runtime/buffer-pool";
import type { ByteReader } from "@cache-registry/storage/blob-store/blob-store";

/** Larger buffers pay off only when there is enough to fill them. */
const GROW_FROM_BYTES = 512 * 1024;

export type SendBytes = {
  /** Closed here, whatever happens. */
  readonly reader: ByteReader;
  readonly response: ServerResponse;
  readonly lease: BufferLease;
  /** Bytes announced in Content-Length, undefined when the total is unknown. */
  readonly length: number | undefined;
};

/**
 * Streams the reader to the client with two buffers in turn: while one is on its way to the kernel the other is filled.
 * Nothing else is held in memory, however slow the client is. Resolves with the number of bytes sent; fewer than `length`
 * when the client left.
 * @throws whatever the reader throws, and when it ends early: the caller cuts the connection short of Content-Length.
 */
export async function sendBytes({ reader, response, lease, length }: SendBytes): Promise<number> {
  if (length === undefined || length >= GROW_FROM_BYTES) lease.grow();
  const orGone = watchDeparture(response);
  let reading: Promise<number> | undefined;
  try {
    let sent = 0;
    let flushed: Promise<unknown> = Promise.resolve();
    for (let turn = 0; sent !== length; turn ^= 1) {
      const buffer = lease.buffers[turn === 0 ? 0 : 1];
      reading = reader.read(buffer);
      const count = await orGone(reading);
      if (count === undefined) return sent;
      await flushed;
      if (count === 0) {
        if (length !== undefined) throw new Error("content ended early");
        return sent;
      }
      flushed = orGone(write(response, buffer.subarray(0, count)));
      sent += count;
    }
    await flushed;
    return sent;
  } finally {
    await reader.close();
    // The buffers go back to the pool after this: a read that is still under way would write into another stream.
    await reading?.catch(() => undefined);
  }
}

/** Resolves when the bytes left user space, so that the buffer may be reused. */
function write(response: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    response.write(bytes, () => resolve());
  });
}

/**
 * Settles like the promise it is given, or with undefined once the client is gone. Promise.race with one promise for the
 * departure would do the same, and keep a reaction for every chunk until the stream ends.
 */
function watchDeparture(response: ServerResponse) {
  const waits = new Set<() => void>();
  let gone = response.destroyed;
  response.once("close", () => {
    gone = true;
    for (const leave of waits) leave();
    waits.clear();
  });
  return function orGone<Value>(promise: Promise<Value>): Promise<Value | undefined> {
    return new Promise((resolve, reject) => {
      const leave = () => resolve(undefined);
      promise.then(
        (value) => {
          waits.delete(leave);
          resolve(value);
        },
        (error: unknown) => {
          waits.delete(leave);
          reject(error);
        },
      );
      if (gone) leave();
      else waits.add(leave);
    });
  };
}
