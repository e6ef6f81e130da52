import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { build as bundle } from "esbuild";

const run = promisify(execFile);

/** A program of the npm registry, pinned by a package-lock.json of its own and bundled into one file, run with node. */
export interface NpmBuild {
  readonly name: string;
  /** Folder under hack/tools/npm. */
  readonly module: string;
  /** Tool → its entry below node_modules. */
  readonly programs: Readonly<Record<string, string>>;
  /** Packages that a file of the module's folder stands in for. */
  readonly instead?: Readonly<Record<string, string>>;
  /** What the entries name and never load: drivers of databases that are not used. */
  readonly unused?: readonly string[];
  readonly seconds: number;
}

export const NPM_BUILDS: readonly NpmBuild[] = [
  {
    name: "azurite",
    module: "azurite",
    programs: { "azurite-blob": "azurite/dist/src/blob/main.js" },
    instead: { applicationinsights: "no-telemetry.cjs" },
    unused: ["pg-hstore", "sqlite3", "mariadb", "oracledb", "pg", "ibm_db", "snowflake-sdk", "vscode"],
    seconds: 45,
  },
];

export const NPM_MODULES = join(import.meta.dirname, "npm");

/** As of a Go build: a new pin is a new hash. */
export function npmPinHash(build: NpmBuild): string {
  const hash = createHash("sha256");
  for (const file of ["package.json", "package-lock.json", ...Object.values(build.instead ?? {})]) {
    hash.update(`${file}\0`).update(readFileSync(join(NPM_MODULES, build.module, file)));
  }
  hash.update(JSON.stringify(build, (key, value) => (key === "seconds" ? undefined : value)));
  return hash.digest("hex").slice(0, 16);
}

/** Installs and bundles in a fresh folder and renames that to `target` when complete. No script of a package runs. */
export async function npmBuild(build: NpmBuild, target: string): Promise<void> {
  const unfinished = `${target}.unfinished`;
  const work = join(unfinished, "work");
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(join(unfinished, "bin"), { recursive: true });
  try {
    cpSync(join(NPM_MODULES, build.module), work, { recursive: true });
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: work, maxBuffer: 2 ** 24 });
    for (const [tool, entry] of Object.entries(build.programs)) {
      await bundle({
        absWorkingDir: work,
        entryPoints: [join("node_modules", entry)],
        outfile: join(unfinished, "bin", tool),
        bundle: true,
        platform: "node",
        format: "cjs",
        target: "node24",
        logLevel: "error",
        external: [...(build.unused ?? [])],
        alias: Object.fromEntries(Object.entries(build.instead ?? {}).map(([name, file]) => [name, `./${file}`])),
      });
    }
    await rm(work, { recursive: true });
    await rename(unfinished, target);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}
