const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy;

/** What `parseDuration` accepts, for error messages. */
export const DURATION_HINT = 'a duration such as "500ms", "10s", "10m", "1h30m" or "30d"';

/** "1h30m" → milliseconds. Undefined when the text is not a duration. Units ms, s, m, h, d (Go's notation plus days). */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  let total = 0;
  PART.lastIndex = 0;
  let end = 0;
  for (let match = PART.exec(text); match; match = PART.exec(text)) {
    total += Number(match[1]) * (UNITS[match[2] ?? ""] ?? Number.NaN);
    end = PART.lastIndex;
  }
  return end > 0 && end === text.length && Number.isSafeInteger(Math.round(total)) ? Math.round(total) : undefined;
}

/** Milliseconds, rounded to whole ones → the shortest exact text: 90000 → "1m30s". */
export function printDuration(milliseconds: number): string {
  let rest = Math.round(milliseconds);
  if (rest < 0) return `-${printDuration(-rest)}`;
  if (rest === 0) return "0s";
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const size = UNITS[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}
