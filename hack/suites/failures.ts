import { stripVTControlCharacters } from "node:util";

/** What failed, and why, short enough for the end of a long log. */
export interface Failure {
  /** Suite and file, or the check. */
  readonly where: string;
  /** Describes and test; a hook has no test, and an error outside of all has nothing. */
  readonly name?: string | undefined;
  /** Message, causes and place. */
  readonly error: string;
}

/** An error as vitest hands it over. */
export interface ReportedError {
  readonly message?: string;
  readonly stack?: string;
  readonly diff?: string;
  readonly cause?: unknown;
}

const MOST_LINES = 16;
const MOST_COLUMNS = 400;
const MOST_CAUSES = 4;

/** What the error says, why, and the first place of the stack that is ours. */
export function textOf(error: ReportedError, root: string): string {
  const parts = [error.message ?? "an error without a message"];
  if (error.diff !== undefined) parts.push(error.diff);
  let { cause } = error;
  for (let depth = 0; depth < MOST_CAUSES && isError(cause); depth += 1) {
    parts.push(`caused by: ${cause.message ?? "an error without a message"}`);
    cause = cause.cause;
  }
  const frames = error.stack?.split("\n").filter((line) => /^\s+at /.test(line)) ?? [];
  const place = frames.find((line) => line.includes(root) && !line.includes("node_modules"));
  if (place !== undefined) parts.push(place.trim().replaceAll(`${root}/`, ""));
  return parts.join("\n");
}

function isError(value: unknown): value is ReportedError {
  return typeof value === "object" && value !== null && "message" in value;
}

/** Of a long text its beginning, which says what, and its end, where the output of a process says why. */
export function excerpt(text: string): string[] {
  const lines = stripVTControlCharacters(text)
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => (line.length > MOST_COLUMNS ? `${line.slice(0, MOST_COLUMNS)}…` : line));
  if (lines.length <= MOST_LINES) return lines;
  const half = MOST_LINES / 2;
  return [...lines.slice(0, half), `… ${lines.length - MOST_LINES} more lines`, ...lines.slice(-half)];
}

export function describeFailures(failures: readonly Failure[]): string {
  return failures
    .map(({ where, name, error }) => {
      const title = name === undefined ? where : `${where} › ${name}`;
      return [`✗ ${title}`, ...excerpt(error).map((line) => `    ${line}`)].join("\n");
    })
    .join("\n");
}
