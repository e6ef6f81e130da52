/**
 * Runs suites one after the other and ends with one line `N passed, N failed`. A check counts as one; of a vitest project
 * every test counts. `--only lint,unit` runs some of them.
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SUITES, type Suite } from "./suites.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const results = join(root, "test-results");

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numFailedTestSuites: number;
}

/** Somebody wants this to end: the suite that runs is told, and no other begins. */
let interrupted = false;

/** Node.js with the suite's arguments, in a process group of its own that is ended when the time is up. */
function run(suite: Suite, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...suite.run, ...args], { cwd: root, stdio: "inherit", detached: true });
    const end = (signal: NodeJS.Signals) => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, signal);
    };
    const timer = setTimeout(() => {
      process.stdout.write(`${suite.name}: over its budget of ${suite.minutes} minutes\n`);
      end("SIGTERM");
      setTimeout(() => end("SIGKILL"), 30_000).unref();
    }, suite.minutes * 60_000);
    const interrupt = () => {
      interrupted = true;
      end("SIGTERM");
    };
    process.once("SIGTERM", interrupt).once("SIGINT", interrupt);
    child.on("exit", (code) => {
      clearTimeout(timer);
      process.off("SIGTERM", interrupt).off("SIGINT", interrupt);
      resolve(code === 0);
    });
  });
}

async function runSuite(suite: Suite): Promise<Counts> {
  if (suite.kind === "check") {
    const ok = await run(suite, []);
    return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
  }
  const file = join(results, `${suite.name}.json`);
  const ok = await run(suite, ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`]);
  const report = await readFile(file, "utf8").then(
    (text) => JSON.parse(text) as VitestReport,
    () => undefined,
  );
  if (!report) return { passed: 0, failed: 1, skipped: 0 };
  const skipped = report.numPendingTests + report.numTodoTests;
  // A file that could not be loaded has no failed test, and a run without any test proves nothing.
  const failed = Math.max(report.numFailedTests, ok && report.numPassedTests > 0 ? 0 : 1);
  return { passed: report.numPassedTests, failed, skipped };
}

const { values } = parseArgs({ options: { only: { type: "string" } } });
const only = values.only?.split(",");
const unknown = only?.filter((name) => !SUITES.some((suite) => suite.name === name)) ?? [];
if (unknown.length > 0)
  throw new Error(`no such suite: ${unknown.join(", ")}; known: ${SUITES.map(({ name }) => name).join(", ")}`);

await rm(results, { recursive: true, force: true });
await mkdir(results, { recursive: true });
const total = { passed: 0, failed: 0, skipped: 0 };
const lines: string[] = [];
for (const suite of SUITES.filter(({ name }) => only?.includes(name) ?? true)) {
  if (interrupted) break;
  process.stdout.write(`\n── ${suite.name} (at most ${suite.minutes} min)\n`);
  const start = performance.now();
  const counts = await runSuite(suite);
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  lines.push(
    `${suite.name.padEnd(14)} ${String(counts.passed).padStart(5)} passed ${String(counts.failed).padStart(3)} failed ${seconds.padStart(6)} s`,
  );
}
process.stdout.write(`\n${lines.join("\n")}\n\n`);
process.stdout.write(
  `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}\n`,
);
process.exitCode = total.failed === 0 && !interrupted ? 0 : 1;
