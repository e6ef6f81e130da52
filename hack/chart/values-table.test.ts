import { describe, expect, it } from "vitest";
import { readCommentedValues } from "./commented-values.ts";
import { valuesSchema } from "./values-schema.ts";
import { readmeWithValues, valuesTables } from "./values-table.ts";

const TEXT = `# -- One | two <three>.
# @enum ["", a]
alone: a
# -- A group.
group:
  # -- Of upstreams.
  # @type list of localObject
  list: []
  # -- Time.
  # @type duration
  time: 1h
`;
const values = readCommentedValues(TEXT);
const tables = valuesTables(values, valuesSchema(values));

describe("the tables of values", () => {
  it("have a row for each value and each key of a list's items", () => {
    expect(tables.split("\n").filter((line) => line.startsWith("| `"))).toEqual([
      '| `alone` | empty, `a` | `"a"` | One \\| two &lt;three>. |',
      "| `group.list` | list of object |  | Of upstreams. |",
      "| `group.list[].name` | string |  | Name of the Secret, in the release namespace. |",
      '| `group.time` | duration | `"1h"` | Time. |',
    ]);
    expect(tables).toContain("## group\n\nA group.\n");
  });

  it("replace only what is between the markers of the README", () => {
    const readme = "before\n<!-- values: written by npm run generate -->\nold\n<!-- end of values -->\nafter\n";
    const written = readmeWithValues(readme, values, valuesSchema(values));
    expect(written).toMatch(/^before\n[\s\S]*### General[\s\S]*\nafter\n$/);
    expect(written).not.toContain("old");
    expect(readmeWithValues(written, values, valuesSchema(values))).toBe(written);
    expect(() => readmeWithValues("nothing", values, valuesSchema(values))).toThrow("lacks the lines");
  });
});
