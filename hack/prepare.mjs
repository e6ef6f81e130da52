// Shared by the start scripts: the project's packages are installed, and where its own Node.js is.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** @returns {{ node: string, root: string }} */
export function prepare() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const node = join(root, "node_modules", "node", "bin", "node");
  const stamp = join(root, "node_modules", ".cache-registry-lock");
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const installed = existsSync(node) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock;
  if (!installed) {
    console.log("installing the packages of package-lock.json");
    execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, stdio: "inherit" });
    writeFileSync(stamp, lock);
  }
  return { node, root };
}
