import type { z } from "zod";

type Schema = z.core.$ZodType;
type Definition = z.core.$ZodTypes["_zod"]["def"];

function definitionOf(schema: Schema): Definition {
  return (schema as z.core.$ZodTypes)._zod.def;
}

/** The schemas that may judge a value: wrappers (optional, default, …) removed, unions taken apart. */
function alternatives(schema: Schema): Schema[] {
  const definition = definitionOf(schema);
  switch (definition.type) {
    case "optional":
    case "nullable":
    case "default":
    case "prefault":
    case "nonoptional":
    case "readonly":
    case "catch":
      return alternatives(definition.innerType);
    case "lazy":
      return alternatives(definition.getter());
    case "pipe": {
      // z.preprocess() is a transform piped into the schema that describes the value.
      const input = definitionOf(definition.in).type === "transform" ? definition.out : definition.in;
      return alternatives(input);
    }
    case "union":
      return definition.options.flatMap(alternatives);
    default:
      return [schema];
  }
}

function shapesOf(schemas: readonly Schema[]): z.core.$ZodShape[] {
  return schemas.flatMap(alternatives).flatMap((schema) => {
    const definition = definitionOf(schema);
    return definition.type === "object" ? [definition.shape] : [];
  });
}

function childrenOf(schema: Schema, key: PropertyKey): Schema[] {
  const definition = definitionOf(schema);
  if (definition.type === "object") {
    const child = definition.shape[String(key)];
    return child ? [child] : [];
  }
  if (definition.type === "array") return [definition.element];
  return definition.type === "record" ? [definition.valueType] : [];
}

/** What the schema says about the value at a path: several schemas below a union. */
export function schemasAt(root: Schema, path: readonly PropertyKey[]): Schema[] {
  return path.reduce<Schema[]>(
    (schemas, key) => schemas.flatMap(alternatives).flatMap((schema) => childrenOf(schema, key)),
    [root],
  );
}

/** Keys of the objects among the schemas, in the order of the schema. */
export function keysOf(schemas: readonly Schema[]): string[] {
  return [...new Set(shapesOf(schemas).flatMap((shape) => Object.keys(shape)))];
}

/** Lists and free-form mappings have no keys of their own: an environment variable sets them whole. */
export function isSetWhole(schemas: readonly Schema[]): boolean {
  return schemas.flatMap(alternatives).some((schema) => ["array", "record"].includes(definitionOf(schema).type));
}

/** The values of literals and enumerations among the schemas. */
export function valuesOf(schemas: readonly Schema[]): unknown[] {
  const values = schemas.flatMap(alternatives).flatMap((schema): unknown[] => {
    const definition = definitionOf(schema);
    if (definition.type === "literal") return definition.values;
    return definition.type === "enum" ? Object.values(definition.entries) : [];
  });
  return [...new Set(values)];
}
