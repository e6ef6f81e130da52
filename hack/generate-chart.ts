/** What is generated from the chart's values.yaml: its JSON schema and the tables of values. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { readCommentedValues } from "./chart/commented-values.ts";
import { valuesSchema, valuesSchemaDocument } from "./chart/values-schema.ts";
import { readmeWithValues, valuesDocument } from "./chart/values-table.ts";

const COMPONENTS = ["registry", "webhook", "controllers", "proxy"];
const CHART = fileURLToPath(new URL("../charts/cache-registry/", import.meta.url));

async function values() {
  return readCommentedValues(await readFile(`${CHART}values.yaml`, "utf8"), COMPONENTS);
}

export async function chartSchema(): Promise<string> {
  return valuesSchemaDocument(await values());
}

export async function chartReadme(): Promise<string> {
  const all = await values();
  return readmeWithValues(await readFile(`${CHART}README.md`, "utf8"), all, valuesSchema(all));
}

export async function chartValuesDocument(): Promise<string> {
  const all = await values();
  return valuesDocument(all, valuesSchema(all));
}
