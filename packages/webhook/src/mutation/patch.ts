// A CommonJS package whose names Node cannot see: only the default import works everywhere.
import jsonPatch from "fast-json-patch";
import type { Pod } from "../pod.ts";

/** RFC 6902. */
export type JsonPatch = readonly {
  readonly op: "add" | "remove" | "replace";
  readonly path: string;
  readonly value?: unknown;
}[];

/**
 * The difference of two pods, key by key: a map such as the annotations is never replaced as a whole, so that what other
 * webhooks add at the same time survives. Parts that both pods share by identity are not walked.
 */
export function patchOf(before: Pod, after: Pod): JsonPatch {
  return before === after ? [] : (jsonPatch.compare(before, after) as JsonPatch);
}
