import { describe, expect, it } from "vitest";
import { readCommentedValues } from "./commented-values.ts";

function only(text: string) {
  const [first] = readCommentedValues(text);
  if (!first) throw new Error("nothing was read");
  return first;
}

describe("comments in values.yaml", () => {
  it("are a description over several lines, then annotations", () => {
    const value = only(
      '# a heading\n# -- How pulls\n# reach the cache.\n# @enum [a, ""]\n# @schema {maximum: 3}\nmode: a\n',
    );
    expect(value).toMatchObject({ path: "mode", fallback: "a", description: "How pulls reach the cache." });
    expect(value.annotations).toEqual({ enum: ["a", ""], schema: { maximum: 3 } });
  });

  it("may show examples, which are no part of the description", () => {
    expect(only("# -- A list.\n#   - {key: x}\n# @type list of text\nlist: []\n").description).toBe("A list.");
  });

  it("belong to the key directly below, not across an empty line", () => {
    const text = "# -- Of a group.\ngroup:\n  # a remark\n\n  # -- Of one.\n  one: 1\n  # -- Of two.\n  two: [a]\n";
    const group = only(text);
    expect(group.children?.map(({ path, description }) => [path, description])).toEqual([
      ["group.one", "Of one."],
      ["group.two", "Of two."],
    ]);
    expect(() => readCommentedValues("# -- Of nothing.\n\none: 1\n")).toThrow(/^one: say what it is/);
  });

  it("of one component hold for the same key of the next ones, and can be replaced there", () => {
    const text = [
      "# -- A.\na:\n  # -- Size.\n  # @type quantity\n  size: 1\n  # -- Group.\n  group:\n    # -- Below.\n    below: x",
      "# -- B.\nb:\n  size: 2\n  group:\n    # -- Else.\n    below: y\n",
    ].join("\n");
    const [, b] = readCommentedValues(text, ["a", "b"]);
    expect(b?.children).toMatchObject([
      { path: "b.size", description: "Size.", annotations: { type: "quantity" }, inherited: true, fallback: 2 },
      { path: "b.group", inherited: true, children: [{ description: "Else.", inherited: false }] },
    ]);
    expect(() => readCommentedValues(text, ["a"])).toThrow(/^b.size: say what it is/);
  });

  it("end the descent where they name a type", () => {
    expect(only("# -- Resources.\n# @type object\nresources:\n  requests: { cpu: 1 }\n").children).toBeUndefined();
  });

  it("with a misspelt annotation are refused", () => {
    expect(() => readCommentedValues("# -- X.\n# @enmu [a]\nx: a\n")).toThrow(/^line 2: @enmu/);
  });
});
