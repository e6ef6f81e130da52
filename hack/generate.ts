/** Writes every generated file; with `--check` only says which ones differ from what is committed, and fails then. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chartReadme, chartSchema, chartValuesDocument } from "./generate-chart.ts";
import { crdTemplate } from "./generate-crd.ts";
import { configurationDocument } from "./generate-docs.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const FILES: Readonly<Record<string, () => string | Promise<string>>> = {
  "charts/cache-registry/templates/crd/cachedimages.yaml": crdTemplate,
  "charts/cache-registry/values.schema.json": chartSchema,
  "charts/cache-registry/README.md": chartReadme,
  "docs/configuration.md": configurationDocument,
  "docs/values.md": chartValuesDocument,
};

const check = process.argv.includes("--check");
for (const [path, make] of Object.entries(FILES)) {
  const file = join(root, path);
  const text = await make();
  const present = await readFile(file, "utf8").catch(() => "");
  if (present === text) continue;
  if (check) {
    process.stderr.write(`${path} is out of date: run npm run generate\n`);
    process.exitCode = 1;
  } else {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    process.stdout.write(`${path}\n`);
  }
}
