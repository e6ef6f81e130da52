import { existsSync } from "node:fs";
import { join } from "node:path";
import { BUILDS, toolsOf } from "./builds.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { ensureDebianPackages } from "./debian.ts";
import { goBuild } from "./go-build.ts";
import { lock } from "./lock.ts";
import { NPM_BUILDS, npmBuild, npmPinHash } from "./npm-build.ts";
import { pinHash } from "./pin.ts";

export interface EnsureOptions {
  /** Told one line per step. */
  readonly log: (line: string) => void;
}

/** One build of some tools, whatever they are written in. */
type Step = {
  readonly name: string;
  readonly tools: readonly string[];
  readonly hash: string;
  readonly seconds: number;
  readonly cgo?: boolean | undefined;
  readonly run: (folder: string) => Promise<void>;
};

const STEPS: readonly Step[] = [
  ...BUILDS.map((build) => ({
    name: build.name,
    tools: toolsOf(build),
    hash: pinHash(build),
    seconds: build.seconds,
    cgo: build.cgo,
    run: (folder: string) => goBuild(build, folder, `${folder}.log`),
  })),
  ...NPM_BUILDS.map((build) => ({
    name: build.name,
    tools: Object.keys(build.programs),
    hash: npmPinHash(build),
    seconds: build.seconds,
    run: (folder: string) => npmBuild(build, folder),
  })),
];

/** Every name `ensureTools` knows. */
export const TOOL_NAMES: readonly string[] = STEPS.flatMap(({ tools }) => tools);

/**
 * Gives the path of each named tool, building what is not in the cache folder yet.
 * @throws Error on an unknown name, or with the end of the build's log
 */
export async function ensureTools(names: readonly string[], { log }: EnsureOptions): Promise<Record<string, string>> {
  const unknown = names.filter((name) => !TOOL_NAMES.includes(name));
  if (unknown.length) throw new Error(`no such tool: ${unknown.join(", ")}; known: ${TOOL_NAMES.join(", ")}`);
  const wanted = STEPS.filter(({ tools }) => tools.some((tool) => names.includes(tool)));
  const missing = wanted.filter((build) => !existsSync(folderOf(build)));
  if (missing.some((build) => build.cgo)) await ensureDebianPackages(["libseccomp-dev", "pkg-config", "gcc"], { log });
  const total = missing.reduce((sum, build) => sum + build.seconds, 0);
  if (total > 60) log(`${missing.length} tools are built once, in about ${Math.ceil(total / 60)} minutes on 2 cores`);
  for (const [index, build] of missing.entries()) {
    await buildOnce(build, (line) => log(`[${index + 1}/${missing.length}] ${line}`));
  }
  return Object.fromEntries(
    wanted.flatMap((build) =>
      build.tools.filter((tool) => names.includes(tool)).map((tool) => [tool, join(folderOf(build), "bin", tool)]),
    ),
  );
}

function folderOf({ name, hash }: Step): string {
  return join(cacheDirectory(), "tools", `${name}-${hash}`);
}

async function buildOnce(build: Step, log: (line: string) => void): Promise<void> {
  const folder = folderOf(build);
  const held = await lock(`${folder}.lock`, (holder) => log(`${build.name} … is being built by process ${holder}`));
  try {
    if (existsSync(folder)) return;
    log(`${build.tools.join(", ")} … about ${build.seconds} s`);
    const start = performance.now();
    await build.run(folder);
    log(`${build.name} built in ${Math.round((performance.now() - start) / 1000)} s`);
  } finally {
    await held.release();
  }
}
