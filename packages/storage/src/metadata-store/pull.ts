import type { Digest } from "@cache-registry/core/digest";

/** A manifest, or a blob, that a client was given, at that time in milliseconds. */
export type Pull = {
  readonly repository: string;
  readonly digest: Digest;
  readonly at: number;
  /** Asked for by a tag: when the tag goes at the same time, this is no reason to keep what nothing names any more. */
  readonly byTag?: boolean;
};
