import type { Digest } from "@cache-registry/core/digest";

/** The files of an OCI image layout (image-layout.md) that have a name of their own. */
export const LAYOUT_FILE = "oci-layout";
export const INDEX_FILE = "index.json";
export const LAYOUT_CONTENT = '{"imageLayoutVersion":"1.0.0"}\n';

export type Source = AsyncIterable<Uint8Array>;

/** An OCI image layout that is read: a folder or an archive. */
export type LayoutReader = {
  /** @throws Error when it is none */
  index(): Promise<Buffer>;
  /** Bytes of a blob, undefined when it is not there. Whether they are the right ones, the reader does not say. */
  size(digest: Digest): Promise<number | undefined>;
  open(digest: Digest): Source;
  close(): Promise<void>;
};

/** An OCI image layout that is written, and goes on where an earlier run ended. */
export type LayoutWriter = {
  /** The blob is there, and its bytes were verified: written by this run or found by it. */
  has(digest: Digest): boolean;
  /** Verified while it is written; nothing of it stays when it fails. @throws Error naming the digest */
  write(blob: { readonly digest: Digest; readonly size: number }, source: Source): Promise<void>;
  /** Makes it a layout. */
  finish(index: Buffer): Promise<void>;
  close(): Promise<void>;
};

export type ResumeProgress = (name: string) => void;
