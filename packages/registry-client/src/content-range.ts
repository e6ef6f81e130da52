export type ContentRange = {
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
  /** Of the whole, when told. */
  readonly size: number | undefined;
};

/** `bytes 0-99/1000`, RFC 9110 §14.4. Undefined when it is none or contradicts itself. */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(value?.trim() ?? "");
  if (!match) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]);
  const size = match[3] === "*" ? undefined : Number(match[3]);
  return start <= end && (size === undefined || end < size) ? { start, end, size } : undefined;
}

/** A Content-Length header in bytes; undefined when there is none or it makes no sense. */
export function parseContentLength(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
