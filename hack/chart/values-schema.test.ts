import { describe, expect, it } from "vitest";
import { readCommentedValues } from "./commented-values.ts";
import { schemaOfType, VALUE_TYPES } from "./value-types.ts";
import { valuesSchema } from "./values-schema.ts";

function schemaOf(comment: string, line: string) {
  const { properties = {} } = valuesSchema(readCommentedValues(`# -- X.\n${comment}${line}\n`));
  return properties.x;
}

describe("the schema of a value", () => {
  it.each([
    ["x: text", { type: "string" }],
    ["x: true", { type: "boolean" }],
    ["x: 3", { type: "integer", minimum: 0 }],
    ["x: [a]", { type: "array", items: { type: "string", minLength: 1 } }],
  ])("is what its default %j shows", (line, schema) => {
    expect(schemaOf("", line)).toEqual({ ...schema, description: "X." });
  });

  it.each(["x: []", "x: {}", "x:", "x: 1.5", "x: [1]"])("is not guessed from %j", (line) => {
    expect(() => schemaOf("", line)).toThrow(/^x: its default does not show its type/);
  });

  it("takes what its comment says over what the default shows", () => {
    expect(schemaOf("# @schema {minimum: 1, maximum: 30}\n", "x: 3")).toMatchObject({ type: "integer", minimum: 1 });
    expect(schemaOf("# @enum [a, b]\n", "x: a")).toEqual({ enum: ["a", "b"], description: "X." });
    expect(schemaOf("# @type list of duration\n", "x: []")).toMatchObject({ items: VALUE_TYPES.duration });
  });

  it("is closed for a mapping, and describes it", () => {
    const [group] = Object.values(
      valuesSchema(readCommentedValues("# -- G.\ng:\n  # -- A.\n  a: 1\n")).properties ?? {},
    ).slice(1);
    expect(group).toMatchObject({ type: "object", additionalProperties: false, description: "G." });
  });

  it("requires the sections, which Helm drops where they are null, and no key of theirs", () => {
    const schema = valuesSchema(readCommentedValues("# -- A.\na: 1\n# -- G.\ng:\n  # -- B.\n  b: 1\n"));
    expect(schema.required).toEqual(["g"]);
    expect(schema.properties?.g?.required).toBeUndefined();
  });

  it("can be that of another value, with a description of its own", () => {
    const text = "# -- Old.\n# @same a\n# @deprecated\nold: {}\n# -- A.\na:\n  # -- B.\n  b: 1\n";
    const { properties = {} } = valuesSchema(readCommentedValues(text));
    expect(properties.old).toEqual({ ...properties.a, description: "Old.", deprecated: true });
    expect(() => schemaOf("# @same nothing\n", "x: {}")).toThrow("x: there is no value nothing");
  });
});

describe("schemaOfType", () => {
  it("understands lists, maps, constants and choices", () => {
    expect(schemaOfType('"auto" or list of map of string')).toEqual({
      anyOf: [
        { const: "auto" },
        { type: "array", items: { type: "object", additionalProperties: { type: "string" } } },
      ],
    });
  });

  it("refuses a name it does not know", () => {
    expect(() => schemaOfType("list of texts")).toThrow(/^no type texts; known: text, /);
  });
});
