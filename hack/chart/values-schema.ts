/** values.schema.json of the chart from its values.yaml. */
import type { CommentedValue } from "./commented-values.ts";
import { type Schema, schemaOfType } from "./value-types.ts";

export const TITLE = "Values of the cache-registry chart";

/** Given to every chart that has a parent. */
const GLOBAL: Schema = {
  type: "object",
  description: "Values that a parent chart shares with its subcharts; not used here.",
};

/** @throws Error naming the path of a value whose type is neither shown by its default nor said in its comment */
export function valuesSchema(values: readonly CommentedValue[]): Schema {
  const properties = propertiesOf(values, indexOf(values));
  return {
    type: "object",
    description: "Every value the chart takes; nothing else is accepted.",
    additionalProperties: false,
    properties: { ...(properties.global ? {} : { global: GLOBAL }), ...properties },
    ...requiredSections(values),
  };
}

export function valuesSchemaDocument(values: readonly CommentedValue[]): string {
  const document = { $schema: "http://json-schema.org/draft-07/schema#", title: TITLE, ...valuesSchema(values) };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** A section whose keys are all commented out is null, and Helm then drops it with its defaults. Templates read below it. */
function requiredSections(values: readonly CommentedValue[]): Pick<Schema, "required"> {
  const sections = values.filter(({ children }) => children).map(keyOf);
  return sections.length > 0 ? { required: sections } : {};
}

type Index = ReadonlyMap<string, CommentedValue>;

function indexOf(values: readonly CommentedValue[]): Index {
  const all = (value: CommentedValue): CommentedValue[] => [value, ...(value.children ?? []).flatMap(all)];
  return new Map(values.flatMap(all).map((value) => [value.path, value]));
}

function propertiesOf(values: readonly CommentedValue[], index: Index): Record<string, Schema> {
  return Object.fromEntries(values.map((value) => [keyOf(value), schemaOf(value, index)]));
}

function keyOf({ path }: CommentedValue): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

function schemaOf(value: CommentedValue, index: Index): Schema {
  const { deprecated, schema = {} } = value.annotations;
  try {
    const shape = { ...shapeOf(value, index), ...schema, description: value.description };
    return deprecated ? { ...shape, deprecated } : shape;
  } catch (error) {
    throw new Error(`${value.path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function shapeOf({ annotations, children, fallback }: CommentedValue, index: Index): Schema {
  if (annotations.same !== undefined) {
    const other = index.get(annotations.same);
    if (!other) throw new Error(`there is no value ${annotations.same}`);
    return shapeOf(other, index);
  }
  if (annotations.type !== undefined) return schemaOfType(annotations.type);
  if (annotations.enum) return { enum: annotations.enum };
  if (children) {
    const properties = propertiesOf(children, index);
    return { type: "object", additionalProperties: false, properties, ...requiredSections(children) };
  }
  return inferred(fallback, annotations.schema !== undefined);
}

/** What the default shows. An empty list or mapping shows nothing, and may not be taken for "anything". */
function inferred(fallback: unknown, said: boolean): Schema {
  if (typeof fallback === "string") return { type: "string" };
  if (typeof fallback === "boolean") return { type: "boolean" };
  if (Number.isInteger(fallback)) return { type: "integer", minimum: 0 };
  if (Array.isArray(fallback) && fallback.length > 0 && fallback.every((item) => typeof item === "string")) {
    return schemaOfType("list of text");
  }
  if (said) return {};
  throw new Error('its default does not show its type: say it in the comment above it, "# @type list of text"');
}
