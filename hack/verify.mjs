// `npm run verify`: what fits between two edits: lint, types, unit, architecture, generated files.
import { spawn } from "node:child_process";
import { prepare } from "./prepare.mjs";

const { node, root } = prepare();
const child = spawn(node, ["hack/suites/main.ts", "--only", "lint,types,generated,unit,architecture"], {
  cwd: root,
  stdio: "inherit",
});
child.on("exit", (code) => process.exit(code ?? 1));
