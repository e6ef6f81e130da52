/** Log lines for reading by eye: `log.format: text`. */

const FIRST = new Set(["time", "level", "component", "msg", "err"]);
const LEVEL_WIDTH = 5;

/**
 * `{"level":"info","time":"…","component":"registry","msg":"listening","port":5000}` →
 * `… INFO  registry listening port=5000`. The stack of an error follows on lines of its own. What is no such line stays as it is.
 */
export function textLine(json: string): string {
  const line = parseLine(json);
  if (!line) return json;
  const { time, level, component, msg, err } = line;
  const fields = Object.entries(line)
    .filter(([key]) => !FIRST.has(key))
    .map(([key, value]) => `${key}=${word(value)}`);
  const words = [time, String(level).toUpperCase().padEnd(LEVEL_WIDTH), component, msg, ...fields];
  const text = words.filter((one) => one !== undefined).map(plain);
  return `${text.join(" ")}${errorLines(err)}\n`;
}

function parseLine(json: string): Record<string, unknown> | undefined {
  try {
    const line: unknown = JSON.parse(json);
    return typeof line === "object" && line !== null ? (line as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A message of several lines must not look like several messages. */
function plain(value: unknown): string {
  return (typeof value === "string" ? value : JSON.stringify(value)).replace(/[\r\n]+/g, " ");
}

function word(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

function errorLines(err: unknown): string {
  if (typeof err !== "object" || err === null) return err === undefined ? "" : `\n  ${plain(err)}`;
  const { type, message, stack, cause } = err as Record<string, unknown>;
  const own = typeof stack === "string" ? stack : `${String(type)}: ${String(message)}`;
  const lines = own.split("\n").map((line) => `\n  ${line.trimEnd()}`);
  return lines.join("") + (cause === undefined ? "" : `\n  caused by:${errorLines(cause)}`);
}
