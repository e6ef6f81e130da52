// `npm test`: every suite, from a fresh clone, under the project's own Node.js.
import { spawn } from "node:child_process";
import { prepare } from "./prepare.mjs";

const { node, root } = prepare();
const child = spawn(node, ["hack/suites/main.ts", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => process.exit(code ?? 1));
