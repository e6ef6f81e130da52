/** As much of a hosts.toml as must be known to put a table into it without touching a byte of the rest. */
export type TomlOutline = {
  /** Where the tables may begin: behind the last key of the root. */
  readonly tablesAt: number;
  /** Keys of the root table, their first parts. */
  readonly rootKeys: readonly string[];
  /** Headers of tables: `[host."http://x"]` is `["host", "http://x"]`. */
  readonly tables: readonly (readonly string[])[];
};

class UnreadableTomlError extends Error {
  override readonly name = "UnreadableTomlError";
}

const OPENING = new Set(["[", "{"]);
const CLOSING = new Set(["]", "}"]);

/** TOML 1.0, read from left to right. Positions are those of the text. */
class Cursor {
  readonly #text: string;
  position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.#text.length;
  }

  get character(): string {
    return this.#text[this.position] ?? "";
  }

  skip(pattern: RegExp): string {
    const sticky = new RegExp(pattern.source, "y");
    sticky.lastIndex = this.position;
    const [found = ""] = sticky.exec(this.#text) ?? [];
    this.position += found.length;
    return found;
  }

  expect(pattern: RegExp): string {
    const found = this.skip(pattern);
    if (found === "") throw new UnreadableTomlError(`not understood at position ${this.position}`);
    return found;
  }

  /** A string of any kind, quotes included; "" where none begins. */
  string(): string {
    return this.skip(/"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}|'''(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/);
  }

  /** A key with dots, as its parts. Escapes in quoted parts stay as they are written. */
  key(): string[] {
    const parts: string[] = [];
    do {
      this.skip(/[ \t]*/);
      const quoted = this.string();
      parts.push(quoted === "" ? this.expect(/[A-Za-z0-9_-]+/) : quoted.slice(1, -1));
      this.skip(/[ \t]*/);
    } while (this.skip(/\./) !== "");
    return parts;
  }

  /** To the end of a value, over lines where brackets are open. */
  value(): void {
    let depth = 0;
    while (!this.atEnd) {
      if (this.string() !== "") continue;
      const { character } = this;
      if (character === '"' || character === "'") throw new UnreadableTomlError("a string does not end");
      if (character === "#") this.skip(/[^\n]*/);
      else if (character === "\n" && depth === 0) break;
      else {
        if (OPENING.has(character)) depth += 1;
        if (CLOSING.has(character)) depth -= 1;
        this.position += 1;
      }
    }
    if (depth !== 0) throw new UnreadableTomlError("a bracket is not closed");
    this.skip(/\n/);
  }
}

function header(cursor: Cursor): string[] {
  const opening = cursor.expect(/\[\[?/);
  const parts = cursor.key();
  cursor.expect(opening === "[[" ? /\]\]/ : /\]/);
  cursor.skip(/[ \t]*(?:#[^\n]*)?\r?/);
  if (!cursor.atEnd) cursor.expect(/\n/);
  return parts;
}

/** Undefined: not TOML, as far as that was looked at. https://toml.io/en/v1.0.0 */
export function outlineOf(text: string): TomlOutline | undefined {
  const cursor = new Cursor(text);
  const rootKeys: string[] = [];
  const tables: string[][] = [];
  let tablesAt = 0;
  try {
    for (;;) {
      cursor.skip(/(?:[ \t\r\n]|#[^\n]*)*/);
      if (cursor.atEnd) return { tablesAt, rootKeys, tables };
      if (cursor.character === "[") {
        tables.push(header(cursor));
        continue;
      }
      const [first = ""] = cursor.key();
      cursor.expect(/=/);
      cursor.value();
      if (tables.length > 0) continue;
      rootKeys.push(first);
      tablesAt = cursor.position;
    }
  } catch (error) {
    if (error instanceof UnreadableTomlError) return undefined;
    throw error;
  }
}
