/** The chart's values as tables, for its README.md and docs/values.md. */
import type { CommentedValue } from "./commented-values.ts";
import { type Schema, VALUE_TYPES } from "./value-types.ts";

const START = "<!-- values: written by npm run generate -->";
const END = "<!-- end of values -->";

const HEAD = `# Values of the chart

Generated from [values.yaml](../charts/cache-registry/values.yaml) by \`npm run generate\`; do not edit. Every other key, and
a value of another type, is refused before anything is installed.

`;

export function valuesDocument(values: readonly CommentedValue[], schema: Schema): string {
  return HEAD + valuesTables(values, schema);
}

/**
 * The chart's README with its values between the two markers replaced; the rest is written by hand.
 * @throws Error when the markers are not there
 */
export function readmeWithValues(readme: string, values: readonly CommentedValue[], schema: Schema): string {
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`the chart's README.md lacks the lines "${START}" and "${END}"`);
  return `${readme.slice(0, start)}${START}\n\n${valuesTables(values, schema, "###")}\n${readme.slice(end)}`;
}

/** One table for the values that stand alone, then one for each group. */
export function valuesTables(values: readonly CommentedValue[], schema: Schema, heading = "##"): string {
  const alone = values.filter(({ children }) => !children);
  const groups = values.filter(({ children }) => children);
  const section = (title: string, text: string, members: readonly CommentedValue[]) => {
    const rows = members.flatMap((value) => rowsOf(value, schemaAt(schema, value.path)));
    return `${heading} ${title}\n\n${text}| value | type | default | |\n|---|---|---|---|\n${rows.join("\n")}\n`;
  };
  return [
    section("General", "", alone),
    ...groups.map(({ path, description, children = [] }) => section(path, `${description}\n\n`, children)),
  ].join("\n");
}

function schemaAt(schema: Schema, path: string): Schema {
  const found = path.split(".").reduce<Schema | undefined>((at, key) => at?.properties?.[key], schema);
  if (!found) throw new Error(`${path} is not in the schema`);
  return found;
}

function rowsOf(value: CommentedValue, schema: Schema): string[] {
  if (value.children) {
    return value.children.flatMap((child) => rowsOf(child, schemaAt(schema, child.path.slice(value.path.length + 1))));
  }
  const row = rowOf(value.path, schema, shown(value.fallback));
  // Said once: the same keys of another component are not spelled out again, nor is what another value's shape is.
  return value.inherited || value.annotations.same !== undefined ? [row] : [row, ...rowsBelow(value.path, schema)];
}

/** Rows of the keys that values.yaml does not have, since they are of a list's items or of a type. */
function rowsBelow(path: string, { items, properties = {}, anyOf = [] }: Schema): string[] {
  if (items) return rowsBelow(`${path}[]`, items);
  // One, or a list of them: what one is.
  const one = anyOf.find((choice) => choice.properties);
  if (one) return rowsBelow(path, one);
  return Object.entries(properties).flatMap(([key, child]) => [
    rowOf(`${path}.${key}`, child, ""),
    ...rowsBelow(`${path}.${key}`, child),
  ]);
}

function rowOf(path: string, schema: Schema, fallback: string): string {
  const note = schema.deprecated ? "Deprecated. " : "";
  return `| \`${path}\` | ${cell(typeText(schema))} | ${cell(fallback)} | ${cell(note + (schema.description ?? ""))} |`;
}

function cell(text: string): string {
  return text.replace(/\|/g, "\\|").replace(/</g, "&lt;").replace(/\s+/g, " ").trim();
}

const LONG = 60;

function shown(fallback: unknown): string {
  if (isEmpty(fallback)) return "";
  const text = JSON.stringify(fallback);
  return text.length > LONG ? "see values.yaml" : `\`${text}\``;
}

function isEmpty(value: unknown): boolean {
  if (value === "" || value === null) return true;
  return typeof value === "object" && Object.values(value).every(isEmpty);
}

/** Patterns that a reader would rather see by name. */
const NAMED = ["duration", "days", "quantity", "optionalQuantity", "percentage", "digest"];
const NAMES: Readonly<Record<string, string>> = { days: "days or duration", optionalQuantity: "quantity" };

function typeText(schema: Schema): string {
  const named = NAMED.find((name) => same(VALUE_TYPES[name], schema));
  if (named) return NAMES[named] ?? named;
  if (schema.enum) return schema.enum.map(literal).join(", ");
  if (schema.const !== undefined) return literal(schema.const);
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeText))].join(" or ");
  if (schema.items) return `list of ${typeText(schema.items)}`;
  if (typeof schema.additionalProperties === "object") return `map of ${typeText(schema.additionalProperties)}`;
  return schema.type ?? "";
}

function same(known: Schema | undefined, { pattern, anyOf }: Schema): boolean {
  const comparable = (one: Pick<Schema, "pattern" | "anyOf">) => JSON.stringify([one.pattern, one.anyOf]);
  return (
    (pattern !== undefined || anyOf !== undefined) &&
    comparable(known ?? {}) === comparable({ ...(pattern && { pattern }), ...(anyOf && { anyOf }) })
  );
}

function literal(value: unknown): string {
  return value === "" ? "empty" : `\`${String(value)}\``;
}
