// `npm start`: runs on any Node.js from 20 on. Installs the project's packages (among them the Node.js it pins) when that
// was not done yet, checks what a fresh machine must bring, and hands over to the story.
import { execFileSync, spawn } from "node:child_process";
import { prepare } from "./prepare.mjs";

function missingPrograms() {
  const needed = { go: "the Go toolchain (go.dev)", cc: "a C compiler (Debian: gcc)", git: "git" };
  return Object.entries(needed).filter(([program]) => {
    try {
      execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
      return false;
    } catch {
      return true;
    }
  });
}

if (process.platform !== "linux" || process.getuid?.() !== 0) {
  console.error("npm start needs Linux and root: it runs a real Kubernetes node on this machine.");
  process.exit(1);
}
const missing = missingPrograms();
if (missing.length > 0) {
  console.error(`Please install: ${missing.map(([, name]) => name).join(", ")}.`);
  process.exit(1);
}

const { node, root } = prepare();
const child = spawn(node, ["hack/story/main.ts", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
// Ctrl-C reaches the whole process group; the story cleans up and this process waits for it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
