/** One range of a Range header, RFC 9110 §14.1.2: from `start` to `end` inclusive, or the last `suffix` bytes. */
export type ByteRange = { readonly start: number; readonly end: number | undefined } | { readonly suffix: number };

/** Undefined where the header may be ignored: another unit, several ranges, nonsense. */
export function parseByteRange(header: string | undefined): ByteRange | undefined {
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "") ?? [];
  if (first === "") return last === "" ? undefined : { suffix: Number(last) };
  const start = Number(first);
  const end = last === "" ? undefined : Number(last);
  return end !== undefined && end < start ? undefined : { start, end };
}
