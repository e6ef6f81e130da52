import type { Digest } from "@cache-registry/core/digest";
import type { Volume } from "./volume.ts";

/**
 * Where bytes live. The port knows nothing of repositories or rights: that is the metadata store's.
 * Layout of the file-system driver: `blobs/<algorithm>/<hex>` as in an OCI image layout (image-layout.md, "Blobs").
 * Every digest handed to `commit` has been verified by the caller while the bytes streamed.
 */
export interface BlobStore {
  /** Size in bytes, or undefined when the bytes are not here. */
  stat(digest: Digest): Promise<{ readonly size: number } | undefined>;
  /**
   * Sequential reader of `[start, end]` (both inclusive, as in RFC 9110 §14.1.2); the whole blob without a range.
   * @throws BlobMissingError
   */
  open(digest: Digest, range?: ByteRange): Promise<ByteReader>;
  /** A URL at which anybody may read the blob for some minutes. Object stores only. */
  redirectUrl?: (digest: Digest) => Promise<string>;
  /**
   * Where the bytes are, for a web server or CDN in front of them: path below the bucket's or the folder's root, encoded.
   * @throws BlobMissingError
   */
  publicPath?: (digest: Digest) => Promise<string>;
  /** A new temporary file for content that is lost with the process (cold fetches, manifests). */
  create(): Promise<BlobWriter>;
  /** The temporary file of an upload session, which survives restarts; created when it is not there. */
  openUpload(id: string): Promise<BlobWriter>;
  /** Forget the temporary file of an upload session. Idempotent. */
  removeUpload(id: string): Promise<void>;
  /**
   * Take the bytes out of sight at once (on a file system: rename to `trash/<hex>.<generation>`), then free them.
   * Idempotent: absent bytes are no error. `confirm` (of the digest lock) is asked when it is settled which bytes go, before
   * they do: where many replicas write, bytes committed after that stay, however late the removal is carried out.
   */
  remove(digest: Digest, generation: number, confirm?: Confirm): Promise<void>;
  /**
   * Damaged bytes: out of sight as with `remove`, but kept aside where somebody can look at them (on a file system in
   * `quarantine/`, in object stores below that prefix). Only under the digest lock. Idempotent. Without it, `remove`.
   */
  quarantine?: (digest: Digest, confirm?: Confirm) => Promise<void>;
  /** Where many replicas write, a blob may be there more than once: removes all but one. Resolves with how many went. */
  removeCopies?: (digest: Digest, confirm: Confirm) => Promise<number>;
  /**
   * Where many replicas share a file system: removes what those left behind that are in `alive` no more. `alive` is asked
   * after the look at what is there.
   */
  removeLeftovers?: (alive: () => Promise<ReadonlySet<string>>) => Promise<number>;
  /** Every digest at rest, for the sweep of bytes without a row. Order is not defined; copies of one come one after the other. */
  list(): AsyncIterable<Digest>;
  /** Upload sessions that have a temporary file, for the sweep of files without a row. */
  listUploads(): AsyncIterable<{ readonly id: string; readonly modifiedAt: number }>;
  /** Resolves while bytes could be read and written; stores without it are asked with `stat`. @throws Error with the reason */
  probe?: () => Promise<void>;
  /** Where the bytes are, for stores on a local disk; undefined before `start`. */
  volume?: () => Volume | undefined;
  /** Ready for use: leftovers of `create` and of the trash of an earlier process are gone. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** @throws when the caller may no longer remove anything */
export type Confirm = () => Promise<void>;

/** Inclusive byte positions. */
export type ByteRange = { readonly start: number; readonly end: number };

export type ByteReader = {
  /** Fills `buffer` from the current position; returns the number of bytes, 0 at the end of the range. */
  read(buffer: Uint8Array): Promise<number>;
  close(): Promise<void>;
};

export type BlobWriter = {
  /** Bytes written so far: with `openUpload` what an earlier process left counts. */
  readonly size: number;
  /** Appends; resolves when the bytes can be read back. Calls must not overlap. Of several chunks all or none are kept. */
  write(bytes: Uint8Array | readonly Uint8Array[]): Promise<void>;
  /** Reads back bytes below `size` while the writer goes on. Works after `commit` until `close`. 0 at the end. */
  readAt(buffer: Uint8Array, position: number): Promise<number>;
  /**
   * What of the commit takes long, for content that is complete: stores that are elsewhere send large blobs now, unseen. To be
   * called before a lock is taken; without it `commit` does the same. The writer takes no more bytes.
   */
  prepare?(digest: Digest): Promise<void>;
  /**
   * After it the bytes survive a power cut. File system: fsync, rename into place, fsync of the folder. Object store: it
   * has acknowledged them. Keeps the handle for `readAt`.
   */
  commit(digest: Digest): Promise<void>;
  /** Releases the handle. An uncommitted `create` file is removed; an upload's file stays. Idempotent. */
  close(): Promise<void>;
};

/** The metadata knows a blob whose bytes are gone: the caller heals by fetching again. */
export class BlobMissingError extends Error {
  override readonly name = "BlobMissingError";
  readonly digest: Digest;
  constructor(digest: Digest) {
    super(`blob ${digest} is not in the store`);
    this.digest = digest;
  }
}
