import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { ALLOWED_LIBRARIES, ALLOWED_PACKAGES } from "./layers.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g;

interface Import {
  readonly file: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
  /** Loaded when the code runs into it. */
  readonly lazy: boolean;
}

function sourcesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name));
}

function importsOf(file: string): Import[] {
  return [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => ({
    file: relative(ROOT, file),
    specifier: match[2] ?? match[3] ?? "",
    typeOnly: match[1] !== undefined,
    lazy: match[3] !== undefined,
  }));
}

const isTest = (file: string) =>
  file.endsWith(".test.ts") || file.includes("/testing/") || /\/conformance(\.ts$|\/)/.test(file);
const packages = readdirSync(join(ROOT, "packages"));
const importsByPackage = new Map(
  packages.map((name) => [
    name,
    sourcesOf(join(ROOT, "packages", name, "src"))
      .filter((file) => !isTest(file))
      .flatMap(importsOf),
  ]),
);

describe("packages import only what is below them", () => {
  it("knows every package", () => {
    expect(Object.keys(ALLOWED_PACKAGES).sort()).toEqual([...packages].sort());
  });

  it.each(packages)("%s", (name) => {
    const offending = (importsByPackage.get(name) ?? [])
      .map((each) => ({ ...each, target: /^@cache-registry\/([^/]+)\//.exec(each.specifier)?.[1] }))
      .filter(({ target }) => target !== undefined && target !== name && !ALLOWED_PACKAGES[name]?.includes(target))
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(offending).toEqual([]);
  });

  it.each(packages)("%s uses only its own libraries", (name) => {
    const offending = (importsByPackage.get(name) ?? [])
      .filter(({ specifier }) => !specifier.startsWith(".") && !specifier.startsWith("@cache-registry/"))
      .filter(({ specifier }) => !specifier.startsWith("node:") && !builtinModules.includes(specifier))
      .filter(
        ({ specifier }) =>
          !ALLOWED_LIBRARIES[name]?.some((library) => specifier === library || specifier.startsWith(`${library}/`)),
      )
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(offending).toEqual([]);
  });

  it("sees imports at all", () => {
    expect(importsByPackage.get("registry")?.map(({ specifier }) => specifier)).toContain(
      "@cache-registry/storage/blob-store/open",
    );
  });
});

describe("the Kubernetes client is loaded by nobody but the controllers", () => {
  it.each(["registry", "webhook", "proxy"])("%s never reaches it", (name) => {
    const reached = reachable(name);
    expect(reached.has("kube")).toBe(false);
  });

  it("the command line loads commands only when they are asked for", () => {
    const imports = importsOf(join(ROOT, "packages/cli/src/main.ts"));
    const specifiers = (lazy: boolean) =>
      imports.filter((each) => each.lazy === lazy).map(({ specifier }) => specifier);
    expect(specifiers(true)).toContain("@cache-registry/controllers/main");
    expect(specifiers(false)).toEqual(["node:util", "@cache-registry/runtime/lifecycle", "./options.ts"]);
  });
});

function reachable(name: string, seen = new Set<string>()): Set<string> {
  for (const { specifier } of importsByPackage.get(name) ?? []) {
    const target = /^@cache-registry\/([^/]+)\//.exec(specifier)?.[1];
    if (target && !seen.has(target)) {
      seen.add(target);
      reachable(target, seen);
    }
  }
  return seen;
}

describe("inside a package", () => {
  it.each(packages)("%s has no import cycle", (name) => {
    const graph = new Map<string, string[]>();
    for (const file of sourcesOf(join(ROOT, "packages", name, "src"))) {
      const targets = importsOf(file)
        .filter(({ specifier, typeOnly }) => specifier.startsWith(".") && !typeOnly)
        .map(({ specifier }) => relative(ROOT, resolve(file, "..", specifier)));
      graph.set(relative(ROOT, file), targets);
    }
    expect(cycleIn(graph)).toBeUndefined();
  });
});

/** The first cycle as a readable path. */
function cycleIn(graph: ReadonlyMap<string, readonly string[]>): string | undefined {
  const done = new Set<string>();
  function visit(file: string, path: readonly string[]): string | undefined {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(" → ");
    if (done.has(file)) return undefined;
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target, [...path, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  }
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}
