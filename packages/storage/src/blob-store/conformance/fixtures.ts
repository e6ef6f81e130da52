import { createHash } from "node:crypto";
import { type Digest, digestOf } from "@cache-registry/core/digest";
import type { BlobStore, ByteRange, ByteReader } from "../blob-store.ts";
import { putBlob } from "../put-blob.ts";

export function sha256(content: Uint8Array | string): Digest {
  return digestOf("sha256", createHash("sha256").update(content).digest("hex"));
}

/** Bytes that differ at every position and between seeds. */
export function content(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let index = 0; index < size; index++) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    bytes[index] = state >> 16;
  }
  return bytes;
}

export async function readAll(reader: ByteReader, bufferSize = 1000): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(bufferSize);
  for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer)) {
    chunks.push(Buffer.from(buffer.subarray(0, count)));
  }
  return Buffer.concat(chunks);
}

export async function readBlob(store: BlobStore, digest: Digest, range?: ByteRange): Promise<Buffer> {
  const reader = await store.open(digest, range);
  try {
    return await readAll(reader);
  } finally {
    await reader.close();
  }
}

export async function writeBlob(store: BlobStore, bytes: Uint8Array): Promise<Digest> {
  const digest = sha256(bytes);
  await putBlob(store, digest, bytes);
  return digest;
}

export async function listAll<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Gives a fresh, started, empty store. */
export type OpenStore = () => Promise<BlobStore>;
