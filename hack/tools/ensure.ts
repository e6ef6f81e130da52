import { existsSync } from "node:fs";
import { join } from "node:path";
import { BUILDS, type Build, toolsOf } from "./builds.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { ensureDebianPackages } from "./debian.ts";
import { goBuild } from "./go-build.ts";
import { lock } from "./lock.ts";
import { pinHash } from "./pin.ts";

export interface EnsureOptions {
  /** Told one line per step. */
  readonly log: (line: string) => void;
}

/** Every name `ensureTools` knows. */
export const TOOL_NAMES: readonly string[] = BUILDS.flatMap(toolsOf);

/**
 * Gives the path of each named tool, building what is not in the cache folder yet.
 * @throws Error on an unknown name, or with the end of the build's log
 */
export async function ensureTools(names: readonly string[], { log }: EnsureOptions): Promise<Record<string, string>> {
  const unknown = names.filter((name) => !TOOL_NAMES.includes(name));
  if (unknown.length) throw new Error(`no such tool: ${unknown.join(", ")}; known: ${TOOL_NAMES.join(", ")}`);
  const wanted = BUILDS.filter((build) => toolsOf(build).some((tool) => names.includes(tool)));
  const missing = wanted.filter((build) => !existsSync(folderOf(build)));
  if (missing.some((build) => build.cgo)) await ensureDebianPackages(["libseccomp-dev", "pkg-config", "gcc"], { log });
  const total = missing.reduce((sum, build) => sum + build.seconds, 0);
  if (total > 60) log(`${missing.length} tools are built once, in about ${Math.ceil(total / 60)} minutes on 2 cores`);
  for (const [index, build] of missing.entries()) {
    await buildOnce(build, (line) => log(`[${index + 1}/${missing.length}] ${line}`));
  }
  return Object.fromEntries(
    wanted.flatMap((build) =>
      toolsOf(build)
        .filter((tool) => names.includes(tool))
        .map((tool) => [tool, join(folderOf(build), "bin", tool)]),
    ),
  );
}

function folderOf(build: Build): string {
  return join(cacheDirectory(), "tools", `${build.name}-${pinHash(build)}`);
}

async function buildOnce(build: Build, log: (line: string) => void): Promise<void> {
  const folder = folderOf(build);
  const held = await lock(`${folder}.lock`, (holder) => log(`${build.name} … is being built by process ${holder}`));
  try {
    if (existsSync(folder)) return;
    log(`${toolsOf(build).join(", ")} … about ${build.seconds} s`);
    const start = performance.now();
    await goBuild(build, folder, `${folder}.log`);
    log(`${build.name} built in ${Math.round((performance.now() - start) / 1000)} s`);
  } finally {
    await held.release();
  }
}
