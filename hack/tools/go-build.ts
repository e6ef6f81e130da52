import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type Build, outputName } from "./builds.ts";
import { buildArguments, MODULES } from "./pin.ts";

const run = promisify(execFile);

/** `go` of the PATH, or of its usual place: a login shell may know it while a service does not. */
function goProgram(): string {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/local/go/bin", "/usr/lib/go/bin"];
  const found = folders.map((folder) => join(folder, "go")).find((path) => existsSync(path));
  if (!found) throw new Error("go is needed to build the tools: install Go 1.26 and put it on the PATH");
  return found;
}

/** Builds into a fresh folder and renames it to `target` when complete, so `target` is whole or absent. */
export async function goBuild(build: Build, target: string, logFile: string): Promise<void> {
  // One name is enough, as the caller holds the lock of the target; what a killed run left there goes.
  const unfinished = `${target}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(join(unfinished, "bin"), { recursive: true });
  try {
    if (Object.keys(build.programs).length > 0) await compile(build, join(unfinished, "bin"), logFile);
    for (const [tool, packagePath] of Object.entries(build.programs)) {
      const made = outputName(packagePath);
      if (made !== tool) await rename(join(unfinished, "bin", made), join(unfinished, "bin", tool));
    }
    for (const [name, { module, path }] of Object.entries(build.folders ?? {})) {
      await cp(join(await moduleDirectory(build, module), path), join(unfinished, "bin", name), { recursive: true });
      // The module cache is read-only, and its copy would be a folder that cannot be removed.
      await run("chmod", ["-R", "u+w", join(unfinished, "bin", name)]);
    }
    await rename(unfinished, target);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

function compile(build: Build, folder: string, logFile: string): Promise<void> {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, "w");
  const go = spawn(goProgram(), [...buildArguments(build), "-o", `${folder}/`, ...Object.values(build.programs)], {
    cwd: join(MODULES, build.module),
    env: environment(build),
    stdio: ["ignore", log, log],
  });
  return new Promise((resolve, reject) => {
    go.once("error", reject);
    go.once("exit", (code, signal) => {
      closeSync(log);
      if (code === 0) return resolve();
      const tail = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-25).join("\n");
      reject(
        new Error(`building ${build.name} failed (${signal ?? `go ended with ${code}`}); ${logFile} ends:\n${tail}`),
      );
    });
  });
}

/** A module of which nothing is compiled may not be there yet: `go mod download` checks it against go.sum as well. */
async function moduleDirectory(build: Build, module: string): Promise<string> {
  const { stdout } = await run(goProgram(), ["mod", "download", "-json", module], {
    cwd: join(MODULES, build.module),
    env: environment(build),
  });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

/** What a developer has set for other modules (a workspace, vendoring) must not reach these. */
function environment(build: Build): NodeJS.ProcessEnv {
  return { ...process.env, CGO_ENABLED: build.cgo ? "1" : "0", GOFLAGS: "-buildvcs=false", GOWORK: "off" };
}
