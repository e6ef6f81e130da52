import { describe, expect, it } from "vitest";
import { outlineOf } from "./toml-outline.ts";

const ROOT = `server = "https://a.io" # a [comment]
ca = [
  "x.crt", # ["not", a table]
  '[y].crt',
]
client = [["a]", "b"], ["c", '']]
text = """
[host."http://in-a-string"]
\\""" still
"""
raw = '''
[host."http://raw"]'''
`;

describe("outlineOf", () => {
  it("tells tables from what looks like them", () => {
    const text = `${ROOT}
# about the first host
[host."https://m.io"]
  capabilities = ["pull"]
  [host."https://m.io".header]
    x = ["[1]"]
[ host . 'http://n.io:5000' ] # second
[[list]]
`;
    expect(outlineOf(text)).toEqual({
      tablesAt: ROOT.length,
      rootKeys: ["server", "ca", "client", "text", "raw"],
      tables: [["host", "https://m.io"], ["host", "https://m.io", "header"], ["host", "http://n.io:5000"], ["list"]],
    });
  });

  it.each([
    ["", 0],
    ["# only a comment\n", 0],
    ['server = "a"', 12],
    ['server = "a"\r\n[host."b"]\r\n', 14],
  ])("%j has its tables from %i on", (text, tablesAt) => {
    expect(outlineOf(text)?.tablesAt).toBe(tablesAt);
  });

  it.each([
    'server = "a',
    "ca = [",
    "[host",
    "[host] x",
    "= 1",
    "server",
    '"""',
    "ca = ]",
  ])("%j is not TOML", (text) => {
    expect(outlineOf(text)).toBeUndefined();
  });

  it("knows hosts that are no tables by the root key", () => {
    expect(outlineOf('host."https://a".skip_verify = true\n')?.rootKeys).toEqual(["host"]);
  });
});
