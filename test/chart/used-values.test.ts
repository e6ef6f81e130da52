import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type CommentedValue, readCommentedValues } from "../../hack/chart/commented-values.ts";
import { CHART } from "./helm.ts";

const TEMPLATES = join(CHART, "templates");
/** Templates take these for any component: `$values.podLabels`, where `$values` is the component's section. */
const COMPONENTS = ["registry", "webhook", "controllers", "proxy"];

const sources = readdirSync(TEMPLATES, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(tpl|yaml|txt)$/.test(name))
  .map((name) => readFileSync(join(TEMPLATES, name), "utf8").replace(/\{\{-? ?\/\*[\s\S]*?\*\/ ?-?\}\}/g, ""));

function leavesOf(value: CommentedValue): string[] {
  return value.children ? value.children.flatMap(leavesOf) : [value.path];
}

/** Is a mapping taken whole: `toYaml $registry.gc`, `range $key, $value := .Values.registry.persistance`? */
function isTakenWhole(source: string, path: readonly string[]): boolean {
  const chain = path.slice(-2).join("\\.");
  const own = path.length === 1 ? `\\.Values\\.${chain}` : chain;
  const functions = "toYaml|toJson|deepCopy|omit|merge|get|concat";
  return new RegExp(`(${functions})[^}|]*\\b${own}\\b(?!\\.)|\\b${own} \\| (toYaml|toJson)`).test(source);
}

/**
 * `parent.key`; or `.key` and `$name.key` where the parent was bound, `with …parent` and `$name := …parent`; or the bound
 * parent was handed on as a whole, to toYaml or to a template that says `.key`.
 */
function isNamed(source: string, path: readonly string[]): boolean {
  const key = path.at(-1) ?? "";
  const parent = path.at(-2);
  if (parent === undefined) return new RegExp(`\\.Values\\.${key}\\b`).test(source);
  if (new RegExp(`\\b${parent}\\.${key}\\b`).test(source)) return true;
  if (COMPONENTS.includes(parent) && new RegExp(`(\\$values|\\))\\.${key}\\b`).test(source)) return true;
  const bound = [...source.matchAll(new RegExp(`(?:\\$(\\w+) := |with )[^}]*\\.${parent}\\b(?!\\.)`, "g"))];
  return bound.some(([, name]) => (name ? isNamedOf(source, name, key) : new RegExp(`[ (]\\.${key}\\b`).test(source)));
}

function isNamedOf(source: string, name: string, key: string): boolean {
  if (new RegExp(`\\$${name}\\.${key}\\b|toYaml \\$${name}\\b(?!\\.)`).test(source)) return true;
  const [, template] = new RegExp(`include "([^"]+)" \\$${name}\\b(?!\\.)`).exec(source) ?? [];
  return (
    template !== undefined && sources.some((one) => one.includes(`define "${template}"`) && one.includes(` .${key} `))
  );
}

function isUsed(path: readonly string[]): boolean {
  return sources.some(
    (source) =>
      isNamed(source, path) || path.some((_, index) => index > 0 && isTakenWhole(source, path.slice(0, index + 1))),
  );
}

it("each value of values.yaml is used by a template", () => {
  const leaves = readCommentedValues(readFileSync(join(CHART, "values.yaml"), "utf8"), COMPONENTS).flatMap(leavesOf);
  expect(leaves.length).toBeGreaterThan(150);
  expect(leaves.filter((path) => !isUsed(path.split(".")))).toEqual([]);
});

it("a value that no template has is found out", () => {
  for (const path of [
    "registry.gc2.grace",
    "registry.nothing",
    "nothing",
    "webhook.hpa.nothing",
    "registry.service.speed",
  ])
    expect([path, isUsed(path.split("."))]).toEqual([path, false]);
});
