import type { ByteRange } from "@cache-registry/storage/blob-store/blob-store";

/**
 * What a Range header asks of content of `size` bytes. RFC 9110 §14.2: anything that is not one valid byte range is
 * ignored (the whole is served); a range beyond the end, or that ends before it starts, is not satisfiable (416); the end is
 * clamped.
 */
export type RangeAnswer =
  | { readonly kind: "whole" }
  | { readonly kind: "part"; readonly range: ByteRange }
  | { readonly kind: "unsatisfiable" };

const SINGLE = /^bytes=(\d*)-(\d*)$/i;

export function parseRange(header: string | undefined, size: number): RangeAnswer {
  const match = header === undefined ? null : SINGLE.exec(header.trim());
  // Some clients send `bytes=0-` with every request; of nothing they want the nothing, not an error.
  if (!match || size === 0) return { kind: "whole" };
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return { kind: "whole" };
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", range: { start: size - length, end: size - 1 } };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  return start >= size || end < start ? { kind: "unsatisfiable" } : { kind: "part", range: { start, end } };
}
