/** Format, imports and undeclared dependencies (Biome), promises and cycles with types (oxlint), dead code (knip). */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const CHECKS: readonly (readonly [string, ...string[]])[] = [
  ["biome", "check", ".", "--error-on-warnings"],
  ["oxlint", "--type-aware", "--deny-warnings"],
  ["knip"],
];

let failed = false;
for (const [program, ...args] of CHECKS) {
  const { status } = spawnSync(join(root, "node_modules", ".bin", program), args, { cwd: root, stdio: "inherit" });
  failed ||= status !== 0;
}
process.exitCode = failed ? 1 : 0;
