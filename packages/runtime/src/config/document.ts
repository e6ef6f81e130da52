import { LineCounter, parseDocument } from "yaml";

export type Mapping = Record<string, unknown>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A key without a value counts as not written, at every depth. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isMapping(value)) return value;
  // fromEntries defines own properties: a key `__proto__` stays a key, and the schema refuses it.
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}

/** One YAML value, or what is wrong with the text. Never quotes the text: it may hold secrets. */
export function parseYaml(text: string): { readonly value: unknown } | { readonly problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    return {
      problems: document.errors.map((error) => {
        const { line, col } = lines.linePos(error.pos[0]);
        return `not valid YAML at line ${line}, column ${col} (${error.code})`;
      }),
    };
  }
  try {
    return { value: withoutNulls(document.toJS()) };
  } catch {
    return { problems: ["not valid YAML: too many or unknown aliases"] };
  }
}
