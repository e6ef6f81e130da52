import { type Digest, digestOf, hexOf } from "@cache-registry/core/digest";

/**
 * Where copies of the metadata are kept beside the blobs: a flat folder of files that are written once. Names sort by age and
 * carry the digest of the file, so that each says of itself whether it is whole.
 */
export interface SnapshotStore {
  /** Newest first; other files are not named. */
  list(): Promise<SnapshotName[]>;
  /** The file appears whole or not at all, and survives a power cut. */
  write(name: SnapshotName, file: string): Promise<void>;
  /**
   * Copies it to a local file that is not there yet; what comes may be damaged.
   * @throws UnreadableSnapshotError when this one cannot be had; any other error when the store is out of reach
   */
  read(name: SnapshotName, file: string): Promise<void>;
  /** Idempotent. */
  remove(name: SnapshotName): Promise<void>;
  close(): void;
}

export class UnreadableSnapshotError extends Error {
  override readonly name = "UnreadableSnapshotError";
}

declare const snapshotBrand: unique symbol;
/** `<time, UTC>-<sha256 of the file>.db.gz` */
export type SnapshotName = string & { readonly [snapshotBrand]: true };

const NAME = /^\d{8}T\d{9}Z-([a-f0-9]{64})\.db\.gz$/;

export function isSnapshotName(text: string): text is SnapshotName {
  return NAME.test(text);
}

export function snapshotName(at: Date, digest: Digest): SnapshotName {
  return `${at.toISOString().replace(/[-:.]/g, "")}-${hexOf(digest)}.db.gz` as SnapshotName;
}

/** What the file must hash to. */
export function digestOfSnapshot(name: SnapshotName): Digest {
  return digestOf("sha256", NAME.exec(name)?.[1] ?? "");
}

export function newestFirst(names: Iterable<string>): SnapshotName[] {
  return [...names].filter(isSnapshotName).sort().reverse();
}
