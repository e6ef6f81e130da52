import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { documents, ROOT, readDocument } from "../support/documents.ts";

const ALL = documents("*.md", "docs/**/*.md", "charts/**/*.md");

/** Without fenced blocks and code spans, in which brackets mean something else. */
function prose(document: string): string {
  return readDocument(document)
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, "")
    .replaceAll(/`[^`\n]*`/g, "code");
}

function linksOf(document: string): string[] {
  const links = [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return links.filter((target) => !/^[a-z]+:/.test(target));
}

/** As GitHub makes them of headings. */
function anchorsOf(document: string): Set<string> {
  const text = readDocument(document).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "");
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

function targetOf(document: string, link: string): { readonly path: string; readonly anchor: string } {
  const [path = "", anchor = ""] = link.split("#");
  return { path: path === "" ? document : normalize(join(dirname(document), path)), anchor };
}

describe("documents", () => {
  it("have only links to what is there", () => {
    const dead: string[] = [];
    let links = 0;
    for (const document of ALL) {
      for (const link of linksOf(document)) {
        links += 1;
        const { path, anchor } = targetOf(document, link);
        const found = existsSync(join(ROOT, path)) && (anchor === "" || anchorsOf(path).has(anchor));
        if (!found) dead.push(`${document}: ${link}`);
      }
    }
    expect(dead).toEqual([]);
    expect(links).toBeGreaterThan(60);
  });

  it("are all in the README's table", () => {
    const named = new Set(linksOf("README.md").map((link) => targetOf("README.md", link).path));
    expect(documents("docs/*.md").filter((document) => !named.has(document))).toEqual([]);
  });
});
