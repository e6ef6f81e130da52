import type { IncomingMessage } from "node:http";
import type { Digest } from "@cache-registry/core/digest";

/**
 * What the drivers of object stores differ in. Errors of all methods: `StoreResponseError`, `StoreConnectionError`,
 * `StoreProtocolError`, `IdentityError`; what may pass has been tried again before.
 */
export interface Objects {
  /**
   * Bytes of an object, undefined when it is not there. Only an answer that says so is an absence: whoever believed the 404 of
   * a bucket that is gone, or of a proxy without a backend, would forget what is held.
   */
  size(key: string): Promise<number | undefined>;
  /** The answer to GET with these headers, its body unread; undefined as for `size`. */
  get(key: string, headers: Readonly<Record<string, string>>): Promise<IncomingMessage | undefined>;
  /** In one request, whole or not at all; the server compares what it received with a hash. */
  put(key: string, upload: Upload): Promise<void>;
  /** Everything but the last step. Nothing stays of a failure. */
  prepare(key: string, upload: Upload & { readonly partBytes: number }): Promise<PreparedUpload>;
  /** Absent objects are no error. A removal without an answer must not take bytes that are put later. */
  remove(key: string): Promise<void>;
  /** To another key, inside the store. */
  copy(from: string, to: string): Promise<void>;
  /** What is larger is not copied. */
  readonly maxCopyBytes: number;
  /**
   * Every key that begins so. @throws StoreProtocolError when a page is not whole: who compares the store with something else
   * must not take the first half for everything
   */
  keysBelow(prefix: string): AsyncIterable<string>;
  /** Finds what is wrong with names and rights, by a small list of what is below the prefix. */
  greet(prefix: string): Promise<void>;
  /** Removes what uploads begun before then (milliseconds) left below the prefix. Stores that do it themselves lack it. */
  tidy?(prefix: string, begunBefore: number): Promise<void>;
  /** A URL at which anybody may read the object for so many seconds. */
  presign?(key: string, seconds: number): Promise<string>;
  close(): void;
}

export type Upload = {
  /** Whose bytes they are: verified by the caller. */
  readonly digest: Digest;
  readonly content: UploadContent;
};

/** Bytes at rest on the local disk. */
export type UploadContent = {
  readonly size: number;
  readAt(buffer: Uint8Array, position: number): Promise<number>;
};

/** An upload that is all there and unseen until it is completed. */
export type PreparedUpload = {
  complete(): Promise<void>;
  abort(): Promise<void>;
};
