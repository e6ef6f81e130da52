/** JSON schemas for kubeconform from an API server's own OpenAPI v3 documents. */

type Json = Readonly<Record<string, unknown>>;

/** What is read of a document of `/openapi/v3`. */
export interface OpenApiDocument {
  readonly components?: { readonly schemas?: Readonly<Record<string, Json>> };
}

interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

const REFERENCE = "#/components/schemas/";

/**
 * Path (`<group or version>/<version>/<kind>.json`, as kubeconform's template finds it) → schema, with all it refers to.
 * Strict: an object takes only the properties that it lists.
 */
export function kindSchemas({ components }: OpenApiDocument): Record<string, Json> {
  const schemas = components?.schemas ?? {};
  const found: Record<string, Json> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const kinds = (schema["x-kubernetes-group-version-kind"] ?? []) as readonly Kind[];
    const [kind] = kinds;
    // what several groups share (DeleteOptions) is no object that somebody creates
    if (!kind || kinds.length > 1 || !(schema.properties as Json | undefined)?.metadata) continue;
    const definitions = Object.fromEntries(reached(name, schemas).map((one) => [one, strict(schemas[one] ?? {})]));
    found[pathOf(kind)] = { $ref: `#/definitions/${name}`, definitions };
  }
  return found;
}

function pathOf({ group, version, kind }: Kind): string {
  return `${group || version}/${version}/${kind.toLowerCase()}.json`;
}

/** The schema's name and those that it refers to, and so on. */
function reached(name: string, schemas: Readonly<Record<string, Json>>): string[] {
  const seen = new Set([name]);
  for (const one of seen) {
    for (const [, next = ""] of JSON.stringify(schemas[one]).matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      seen.add(next);
  }
  return [...seen];
}

/** The values that a list, a map or a property takes; `oneOf` and the like only narrow them, so nothing there is closed. */
function strict(schema: Json): Json {
  const { properties, items, additionalProperties, nullable, type, ...rest } = schema;
  const children = properties as Readonly<Record<string, Json>> | undefined;
  const open = additionalProperties !== undefined || schema["x-kubernetes-preserve-unknown-fields"] === true;
  return {
    ...(withReferences(rest) as Json),
    ...(type !== undefined && { type: nullable === true ? [type, "null"] : type }),
    ...(children && { properties: mapped(children, strict) }),
    ...(items !== undefined && { items: strict(items as Json) }),
    ...(typeof additionalProperties === "object" && { additionalProperties: strict(additionalProperties as Json) }),
    ...(children && !open && { additionalProperties: false }),
  };
}

function mapped(values: Readonly<Record<string, Json>>, change: (value: Json) => Json): Json {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}

function withReferences(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withReferences);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [
      key,
      key === "$ref" && typeof child === "string" ? child.replace(REFERENCE, "#/definitions/") : withReferences(child),
    ]),
  );
}
