#!/usr/bin/env node
// Any Node.js can start this file; the sources need 24. Where this is 24 already (npx puts the project's own first in PATH)
// the command runs in this very process, so that signals and kills reach it; else in a child with the pinned Node.js.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const main = new URL("../src/main.ts", import.meta.url);

// npx runs this below a shell that does not pass signals on: ended by one, npx would leave the process behind.
if (process.env.npm_command === "exec") {
  const shell = process.ppid;
  setInterval(() => process.ppid === shell || process.kill(process.pid, "SIGTERM"), 500).unref();
}

if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import(main.href);
} else {
  const pinned = join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
  const child = spawn(pinned, [fileURLToPath(main), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal) process.kill(process.pid, signal);
    process.exitCode = code ?? 1;
  });
}
