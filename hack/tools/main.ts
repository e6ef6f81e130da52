/**
 * Builds the pinned tools and prints where they are: `node hack/tools/main.ts [name …]` (all of them without a name).
 */
import { ensureTools, TOOL_NAMES } from "./ensure.ts";

const names = process.argv.slice(2);
try {
  const paths = await ensureTools(names.length ? names : TOOL_NAMES, { log: (line) => console.error(line) });
  for (const [name, path] of Object.entries(paths)) console.log(`${name}\t${path}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
