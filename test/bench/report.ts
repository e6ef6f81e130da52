import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, release } from "node:os";
import { dirname } from "node:path";
import { type Figure, judge, OURS } from "./measure.ts";

export type Report = {
  readonly at: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly kernel: string; readonly node: string };
  /** Load averages before anything was measured: a busy machine makes a worthless report. */
  readonly load: readonly number[];
  readonly figures: readonly Figure[];
};

export function newReport(): Omit<Report, "figures"> {
  return {
    at: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      kernel: release(),
      node: process.version,
    },
    load: loadavg().map((average) => Math.round(average * 100) / 100),
  };
}

function round(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString("en-US");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** A line per peer, ours first, with ratios and goals. */
export function describe(figure: Figure): string {
  const lines = figure.samples.map(({ peer, median, values }) => {
    const spread = `${round(Math.min(...values))} … ${round(Math.max(...values))}`;
    return `  ${peer.padEnd(24)} ${round(median).padStart(8)} ${figure.unit}  (${spread})`;
  });
  const verdicts = figure.goals.flatMap((goal) => {
    const verdict = judge(figure, goal);
    return verdict ? [`  ${verdict.met ? "met   " : "MISSED"} ${verdict.goal}: ratio ${verdict.ratio.toFixed(2)}`] : [];
  });
  return [figure.name, ...lines, ...verdicts, ...(figure.note ? [`  ${figure.note}`] : [])].join("\n");
}

function rowOf(figure: Figure): string {
  const ours = figure.samples.find(({ peer }) => peer === OURS);
  const others = figure.samples.filter(({ peer }) => peer !== OURS);
  const peers = others.map(({ peer, median }) => `${peer} ${round(median)}`).join("<br>");
  const goals = figure.goals.flatMap((goal) => {
    const verdict = judge(figure, goal);
    return verdict ? [`${verdict.ratio.toFixed(2)} (goal ${verdict.goal}: ${verdict.met ? "met" : "**missed**"})`] : [];
  });
  const name = figure.note ? `${figure.name} (${figure.note})` : figure.name;
  return `| ${name} | ${round(ours?.median ?? Number.NaN)} ${figure.unit} | ${peers} | ${goals.join("<br>")} |`;
}

export function markdown({ at, machine, load, figures }: Report): string {
  const repetitions = figures.map(({ samples }) => samples[0]?.values.length ?? 0).filter((count) => count > 1);
  return `# Benchmarks

Written by \`npm run bench\`; do not edit. Figures with peers are medians of at least ${Math.min(...repetitions)} repetitions in which the peers
take turns on one machine, clients included: compare within a row, not with other rows or machines. Our registry is the
bundled build with its default configuration, access log included; distribution is v3.1.2 with its default logging; nginx
uses sendfile and stands for what the machine can do. Where the time of a push goes: [ADR 0021](adr/0021-where-a-push-spends-its-time.md).

${at.slice(0, 10)}, ${machine.cores} × ${machine.cpu}, Linux ${machine.kernel}, Node.js ${machine.node}; load average before the run: ${load.join(", ")}.

| what | ours | peers | ours : peer |
|---|---|---|---|
${figures.map(rowOf).join("\n")}
`;
}

export async function writeReport(
  report: Report,
  files: { json: string; markdown?: string | undefined },
): Promise<void> {
  await mkdir(dirname(files.json), { recursive: true });
  await writeFile(files.json, `${JSON.stringify(report, null, 2)}\n`);
  if (files.markdown !== undefined) await writeFile(files.markdown, markdown(report));
}
