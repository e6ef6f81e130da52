import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import type { Build } from "./builds.ts";

/** Where the Go modules of the tools are. */
export const MODULES = join(import.meta.dirname, "go");

/** `go build` arguments. DWARF is not even compiled: nobody debugs these, and it costs a tenth of the build. */
export function buildArguments(build: Build): string[] {
  const variables = Object.entries(build.linkerVariables ?? {}).map(([name, value]) => ` -X ${name}=${value}`);
  return [
    "build",
    "-mod=readonly",
    "-trimpath",
    "-gcflags=all=-dwarf=false",
    `-tags=${build.tags ?? ""}`,
    `-ldflags=-s -w${variables.join("")}`,
  ];
}

/** What a build is made from, as a short hash: module files, our own sources, arguments. A new pin is a new hash. */
export function pinHash(build: Build): string {
  const hash = createHash("sha256");
  const folder = join(MODULES, build.module);
  const own = Object.values(build.programs).filter((path) => path.startsWith("./"));
  const sources = own.flatMap((path) => globSync(`${path.slice(2)}/*.go`, { cwd: folder }).sort());
  for (const file of ["go.mod", "go.sum", ...sources]) {
    hash.update(`${file}\0`).update(readFileSync(join(folder, file)));
  }
  hash.update(
    JSON.stringify([build, buildArguments(build), arch()], (key, value) => (key === "seconds" ? undefined : value)),
  );
  return hash.digest("hex").slice(0, 16);
}
