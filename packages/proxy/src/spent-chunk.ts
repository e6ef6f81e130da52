/**
 * Gives the memory of a chunk back at once. Every read from a socket fills a new buffer of 64 KiB; left to the garbage
 * collector, a fast stream keeps 100 MB of them alive. Only for chunks that nobody looks at any more, and only where
 * the chunk is all of its buffer: another part of it may be a chunk still waiting.
 */
export function releaseChunk({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
