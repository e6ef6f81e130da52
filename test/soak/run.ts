/**
 * `npm run soak`: the full counts that `npm test` has no time for. Kills the registry `--kills` times in the middle of pushes
 * and of cold pulls (default 50 each), sends it `--fuzz` requests of a seeded generator (default 500,000), and runs the end-to-end chapters
 * `--rounds` times on new clusters (default 5).
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    rounds: { type: "string", default: "5" },
    fuzz: { type: "string", default: "500000" },
  },
});

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

const crashes = ["--project", "integration", "test/integration/registry-crash.test.ts", "--testTimeout=3600000"];
const fuzz = ["--project", "integration", "test/integration/registry-fuzz.test.ts"];
const passed = [
  suite(`${values.kills} kills each`, crashes, { CREG_SOAK_KILLS: values.kills }),
  suite(`${values.fuzz} hostile requests`, fuzz, { CREG_SOAK_FUZZ: values.fuzz }),
];
for (let round = 1; round <= Number(values.rounds); round += 1) {
  passed.push(suite(`end to end, round ${round}`, ["--project", "e2e"]));
}
const failed = passed.filter((each) => !each).length;
process.stdout.write(`${passed.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
