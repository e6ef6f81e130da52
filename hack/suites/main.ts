/**
 * Runs suites one after the other and ends with what failed and one line `N passed, N failed`. A check counts as one; of a
 * vitest project every test counts, and every failed hook. `--only lint,unit` runs some of them.
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Counts, countsOf, type VitestReport } from "./counts.ts";
import { FAILURES_FILE } from "./failure-reporter.ts";
import { describeFailures, type Failure } from "./failures.ts";
import { SUITES, type Suite } from "./suites.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const results = join(root, "test-results");
const reporter = fileURLToPath(new URL("failure-reporter.ts", import.meta.url));

/** Somebody wants this to end: the suite that runs is told, and no other begins. */
let interrupted = false;

/** The end of what a check writes: enough for what it says of its failure. */
const KEPT_CHARACTERS = 20_000;
const LAST_WORDS_TIMEOUT = 2_000;

type Ended = { readonly ok: boolean; readonly output: string };

/**
 * Node.js with the suite's arguments, in a process group of its own that is ended when the time is up. What a check writes
 * is passed on and its end kept; vitest, which reports by itself, has the terminal.
 */
function run(suite: Suite, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...suite.run, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: suite.kind === "check" ? ["ignore", "pipe", "pipe"] : "inherit",
      detached: true,
    });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => keep(process.stdout, chunk));
    child.stderr?.on("data", (chunk: Buffer) => keep(process.stderr, chunk));
    const keep = (stream: NodeJS.WriteStream, chunk: Buffer): void => {
      stream.write(chunk);
      output = (output + chunk.toString("utf8")).slice(-KEPT_CHARACTERS);
    };
    const end = (signal: NodeJS.Signals) => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, signal);
    };
    const timer = setTimeout(() => {
      const late = `${suite.name}: over its budget of ${suite.minutes} minutes\n`;
      process.stdout.write(late);
      output += late;
      end("SIGTERM");
      setTimeout(() => end("SIGKILL"), 30_000).unref();
    }, suite.minutes * 60_000);
    const interrupt = () => {
      interrupted = true;
      end("SIGTERM");
    };
    process.once("SIGTERM", interrupt).once("SIGINT", interrupt);
    child.once("exit", (code) => {
      clearTimeout(timer);
      process.off("SIGTERM", interrupt).off("SIGINT", interrupt);
      const done = () => {
        clearTimeout(late);
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ ok: code === 0, output });
      };
      // Its last words; what it left running, a service that apt-get started, may hold the pipes open for ever.
      const late = setTimeout(done, LAST_WORDS_TIMEOUT);
      child.once("close", done);
    });
  });
}

type SuiteResult = { readonly counts: Counts; readonly failures: readonly Failure[] };

async function runCheck(suite: Suite): Promise<SuiteResult> {
  const { ok, output } = await run(suite, []);
  const failures = ok ? [] : [{ where: suite.name, error: output || "it wrote nothing" }];
  return { counts: { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }, failures };
}

async function runVitest(suite: Suite): Promise<SuiteResult> {
  const file = join(results, `${suite.name}.json`);
  const failuresFile = join(results, `${suite.name}.failures.jsonl`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const { ok, output } = await run(suite, [...reporters, `--reporter=${reporter}`], { [FAILURES_FILE]: failuresFile });
  const report = await readFile(file, "utf8").then(
    (text) => JSON.parse(text) as VitestReport,
    () => undefined,
  );
  const lines = await readFile(failuresFile, "utf8").catch(() => "");
  const named = lines.split("\n").filter(Boolean);
  const failures = named.map((line) => JSON.parse(line) as Failure);
  const counts = countsOf({ report, failures: failures.length, ok });
  if (counts.failed > 0 && (output !== "" || failures.length === 0)) {
    failures.push({ where: suite.name, error: output || "it ended with a failure that no test is to blame for" });
  }
  return { counts, failures };
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
const failures: Failure[] = [];
for (const suite of SUITES.filter(({ name }) => only?.includes(name) ?? true)) {
  if (interrupted) break;
  process.stdout.write(`\n── ${suite.name} (at most ${suite.minutes} min)\n`);
  const start = performance.now();
  const { counts, failures: found } = await (suite.kind === "check" ? runCheck(suite) : runVitest(suite));
  failures.push(...found);
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  lines.push(
    `${suite.name.padEnd(14)} ${String(counts.passed).padStart(5)} passed ${String(counts.failed).padStart(3)} failed ${seconds.padStart(6)} s`,
  );
}
process.stdout.write(`\n${lines.join("\n")}\n\n`);
if (failures.length > 0) process.stdout.write(`${describeFailures(failures)}\n\n`);
process.stdout.write(
  `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}\n`,
);
process.exitCode = total.failed === 0 && !interrupted ? 0 : 1;
