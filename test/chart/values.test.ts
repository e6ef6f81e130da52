import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { CHART, refusal, render } from "./helm.ts";

interface Schema {
  readonly description?: string;
  readonly properties?: Record<string, Schema>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly type?: string;
}

const root = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8")) as Schema;
const values = parse(readFileSync(join(CHART, "values.yaml"), "utf8")) as Record<string, unknown>;

/** Given to every chart that has a parent; no value of ours. */
const NOT_OURS = ["global"];
/** Empty in values.yaml, since what is written there would win over registry.persistence. */
const ALIASES = ["registry.persistance"];

function schemaKeys(schema: Schema, prefix = ""): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, child]) => {
    const path = prefix + key;
    if (NOT_OURS.includes(path)) return [];
    return ALIASES.includes(path) ? [path] : [path, ...schemaKeys(child, `${path}.`)];
  });
}

/** Keys of values.yaml; what is below an object without listed properties (resources, labels) is no key of ours. */
function valueKeys(value: unknown, schema: Schema | undefined, prefix = ""): string[] {
  const properties = schema ? schema.properties : {};
  if (!properties || typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([key, child]) => [
    prefix + key,
    ...valueKeys(child, properties[key], `${prefix + key}.`),
  ]);
}

/** Every schema below the root, with a path that a person finds. */
function everySchema(schema: Schema, path: string): [string, Schema][] {
  const { properties = {}, items, anyOf = [], additionalProperties } = schema;
  return [
    [path, schema] as [string, Schema],
    ...Object.entries(properties).flatMap(([key, child]) => everySchema(child, `${path}.${key}`)),
    ...(items ? everySchema(items, `${path}[]`) : []),
    ...anyOf.flatMap((child) => everySchema(child, path)),
    ...(typeof additionalProperties === "object" ? everySchema(additionalProperties, `${path}.*`) : []),
  ];
}

describe("values.schema.json", () => {
  it("has the keys of values.yaml, and values.yaml has its keys", () => {
    expect(schemaKeys(root).sort()).toEqual(valueKeys(values, root).sort());
  });

  it("is closed: an object that lists its properties takes no others", () => {
    const open = everySchema(root, "values")
      .filter(([, { properties, additionalProperties }]) => properties && additionalProperties !== false)
      .map(([path]) => path.replace(/^values\.\w+\./, ""));
    // a variable is what Kubernetes says it is
    expect([...new Set(open)]).toEqual(["extraEnv[]"]);
  });

  it("describes every key", () => {
    const named = everySchema(root, "").flatMap(([path, { properties = {} }]) =>
      Object.entries(properties).map(([key, schema]) => [`${path}.${key}`, schema] as const),
    );
    expect(named.filter(([, schema]) => !schema.description).map(([path]) => path)).toEqual([]);
  });

  it.each([
    [{ regsitry: {} }, "regsitry"],
    [{ registry: { persistnce: {} } }, "persistnce"],
    [{ registry: { persistance: { sizes: "1Gi" } } }, "sizes"],
    [{ proxy: { log: { levle: "info" } } }, "levle"],
    [{ webhook: { image: { tags: "1" } } }, "tags"],
    [{ upstreams: [{ registry: "docker.io", endpoint: "https://x" }] }, "endpoint"],
    [{ controllers: { webhook: { failurePolicy: "Fail" } } }, "failurePolicy"],
  ])("refuses the unknown key in %j", async (wrong, key) => {
    expect(await refusal({ values: wrong })).toContain(`additional properties '${key}' not allowed`);
  });

  it.each([
    [{ mode: "both" }, "/mode"],
    [{ cachedImagesExpiryDelay: "soon" }, "/cachedImagesExpiryDelay"],
    [{ cachedImagesExpiryDelay: -1 }, "/cachedImagesExpiryDelay"],
    [{ endpoint: "localhost" }, "/endpoint"],
    [{ registry: { gc: { grace: "1 hour" } } }, "/registry/gc/grace"],
    [{ image: { digest: "sha256:abc" } }, "/image/digest"],
    [{ webhook: { timeoutSeconds: 31 } }, "/webhook/timeoutSeconds"],
    [{ proxy: { log: { level: "loud" } } }, "/proxy/log/level"],
  ])("refuses the value in %j", async (wrong, path) => {
    expect(await refusal({ values: wrong })).toContain(`at '${path}'`);
  });

  it("takes what a parent chart shares", async () => {
    expect((await render({ values: { global: { imageRegistry: "x" } } })).workloads()).toHaveLength(4);
  });
});
