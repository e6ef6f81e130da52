/**
 * `npm run bench`: our hot paths against their peers, in one run. Writes test-results/bench.json and, when everything was
 * measured, docs/benchmarks.md. `--only warm-blob,push` measures some paths; with `--update` they take their places in the last
 * report.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Figure } from "./measure.ts";
import { admission } from "./paths/admission.ts";
import { coldImage } from "./paths/cold-image.ts";
import { collection } from "./paths/collection.ts";
import { firstByte } from "./paths/first-byte.ts";
import { listing } from "./paths/listing.ts";
import { manifest } from "./paths/manifest.ts";
import { memory } from "./paths/memory.ts";
import { push } from "./paths/push.ts";
import { start } from "./paths/start.ts";
import { warmBlob } from "./paths/warm-blob.ts";
import { describe, newReport, type Report, writeReport } from "./report.ts";
import { openScene, type Scene } from "./scene.ts";

const PATHS: Readonly<Record<string, (scene: Scene) => Promise<Figure[]>>> = {
  "warm-blob": warmBlob,
  manifest,
  push,
  "cold-image": coldImage,
  "first-byte": firstByte,
};
/** With processes and data of their own. */
const ALONE: Readonly<Record<string, () => Promise<Figure[]>>> = { start, listing, collection, memory, admission };
/** A run that hangs is ended: it must never hold up more than itself. */
const LIMIT_MS = 20 * 60_000;

const inRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: "string" }, update: { type: "boolean" } } });
  const known = [...Object.keys(PATHS), ...Object.keys(ALONE)];
  const names = values.only?.split(",") ?? known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no such path: ${unknown}; known: ${known.join(", ")}`);
  const report = newReport();
  process.stdout.write(`load average: ${report.load.join(", ")}\n`);
  const figures: Figure[] = [];
  const add = (measured: readonly Figure[]) => {
    figures.push(...measured);
    for (const figure of measured) process.stdout.write(`${describe(figure)}\n`);
  };
  const together = names.flatMap((name) => PATHS[name] ?? []);
  if (together.length > 0) {
    const scene = await openScene();
    try {
      for (const path of together) add(await path(scene));
    } finally {
      await scene.dispose();
    }
  }
  for (const path of names.flatMap((name) => ALONE[name] ?? [])) add(await path());
  const json = inRoot("test-results/bench.json");
  const last = values.update ? (JSON.parse(await readFile(json, "utf8")) as Report) : undefined;
  const whole = values.only === undefined || values.update;
  const fresh = figures.map((figure) => dated(figure, report));
  await writeReport(last ? { ...last, figures: updated(last.figures, fresh) } : { ...report, figures }, {
    json,
    markdown: whole ? inRoot("docs/benchmarks.md") : undefined,
  });
}

/** What joins an older report says when it was measured, and on how busy a machine. */
function dated(figure: Figure, { at, load }: Pick<Report, "at" | "load">): Figure {
  const when = `measured ${at.slice(0, 16).replace("T", " ")}, load average ${load.join(", ")}`;
  return { ...figure, note: figure.note === undefined ? when : `${figure.note}; ${when}` };
}

/** In the old order, the new ones of the same name in place of the old. */
function updated(old: readonly Figure[], fresh: readonly Figure[]): Figure[] {
  const added = fresh.filter(({ name }) => !old.some((figure) => figure.name === name));
  return [...old.map((figure) => fresh.find(({ name }) => name === figure.name) ?? figure), ...added];
}

setTimeout(() => {
  process.stderr.write(`the benchmarks took more than ${LIMIT_MS / 60_000} minutes\n`);
  process.exit(1);
}, LIMIT_MS).unref();
await main();
