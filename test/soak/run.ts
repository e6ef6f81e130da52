/**
 * `npm run soak [-- --only kills,fuzz]`: the full counts that `npm test` has no time for, one job after the other. Each job
 * is a test of `npm test` with a larger count.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

type Job = {
  readonly name: string;
  /** Below test/integration. */
  readonly file: string;
  /** Environment variable with the count, and the count unless `--<name> N` says another. */
  readonly variable: string;
  readonly count: number;
};

const JOBS: readonly Job[] = [
  { name: "kills", file: "registry-crash.test.ts", variable: "CREG_SOAK_KILLS", count: 50 },
  { name: "mixed-kills", file: "registry-crash-mixed.test.ts", variable: "CREG_SOAK_MIXED_KILLS", count: 200 },
  { name: "fuzz", file: "registry-fuzz.test.ts", variable: "CREG_SOAK_FUZZ", count: 500_000 },
  { name: "pods", file: "controllers-scale.test.ts", variable: "CREG_SOAK_PODS", count: 10_000 },
  { name: "operations", file: "registry-random.test.ts", variable: "CREG_SOAK_OPERATIONS", count: 10_000 },
];
/** Rounds of the end-to-end chapters, each on a new cluster. */
const ROUNDS = 5;

const root = fileURLToPath(new URL("../..", import.meta.url));
const counts = Object.fromEntries(
  [...JOBS.map(({ name }) => name), "rounds", "only"].map((name) => [name, { type: "string" }]),
);
const { values } = parseArgs({ options: counts as Record<string, { type: "string" }> });
const only = values.only?.split(",");

function suite(what: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): boolean {
  const start = performance.now();
  const command = ["node_modules/vitest/vitest.mjs", "run", ...args];
  const { status } = spawnSync(process.execPath, command, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  process.stdout.write(`soak: ${what}: ${status === 0 ? "passed" : "FAILED"} after ${seconds} s\n`);
  return status === 0;
}

const passed: boolean[] = [];
for (const { name, file, variable, count } of JOBS) {
  if (only && !only.includes(name)) continue;
  const times = values[name] ?? String(count);
  const args = ["--project", "integration", `test/integration/${file}`, "--testTimeout=3600000"];
  passed.push(suite(`${name}, ${times}`, args, { [variable]: times }));
}
const rounds = only && !only.includes("rounds") ? 0 : Number(values.rounds ?? ROUNDS);
for (let round = 1; round <= rounds; round += 1) {
  passed.push(suite(`end to end, round ${round}`, ["--project", "e2e"]));
}
const failed = passed.filter((each) => !each).length;
process.stdout.write(`${passed.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed.length > 0 ? 0 : 1;
