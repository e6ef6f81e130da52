/**
 * `npm run bench`: our hot paths against their peers, in one run. Writes test-results/bench.json and, when everything was
 * measured, docs/benchmarks.md. `--only warm-blob,push` measures some paths.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Figure } from "./measure.ts";
import { coldImage } from "./paths/cold-image.ts";
import { firstByte } from "./paths/first-byte.ts";
import { manifest } from "./paths/manifest.ts";
import { push } from "./paths/push.ts";
import { warmBlob } from "./paths/warm-blob.ts";
import { describe, newReport, writeReport } from "./report.ts";
import { openScene, type Scene } from "./scene.ts";

const PATHS: Readonly<Record<string, (scene: Scene) => Promise<Figure[]>>> = {
  "warm-blob": warmBlob,
  manifest,
  push,
  "cold-image": coldImage,
  "first-byte": firstByte,
};
/** A run that hangs is ended: it must never hold up more than itself. */
const LIMIT_MS = 8 * 60_000;

const inRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: "string" } } });
  const names = values.only?.split(",") ?? Object.keys(PATHS);
  const report = newReport();
  process.stdout.write(`load average: ${report.load.join(", ")}\n`);
  const figures: Figure[] = [];
  const scene = await openScene();
  try {
    for (const name of names) {
      const path = PATHS[name];
      if (!path) throw new Error(`no such path: ${name}; known: ${Object.keys(PATHS).join(", ")}`);
      for (const figure of await path(scene)) {
        figures.push(figure);
        process.stdout.write(`${describe(figure)}\n`);
      }
    }
  } finally {
    await scene.dispose();
  }
  await writeReport(
    { ...report, figures },
    {
      json: inRoot("test-results/bench.json"),
      markdown: values.only === undefined ? inRoot("docs/benchmarks.md") : undefined,
    },
  );
}

setTimeout(() => {
  process.stderr.write(`the benchmarks took more than ${LIMIT_MS / 60_000} minutes\n`);
  process.exit(1);
}, LIMIT_MS).unref();
await main();
