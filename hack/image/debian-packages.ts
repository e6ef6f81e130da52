import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { cacheDirectory } from "../tools/cache-directory.ts";

const run = promisify(execFile);

/** So old a copy is fetched again: the image gets the distribution's security updates with the next build. */
const FRESH_MS = 24 * 60 * 60 * 1_000;

/** One package of the distribution, as its control file names it. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly maintainer: string;
}

export interface UnpackedPackages {
  /** The packages' files, as below `/` of a machine of that architecture. */
  readonly root: string;
  readonly packages: readonly DebianPackage[];
}

/**
 * Downloads and unpacks packages of any architecture. Nothing is installed and this machine's own package state is not
 * touched: apt gets a state folder of its own and checks signatures with this machine's keys and sources. Kept for a day.
 * @throws Error where there is no apt, and with apt's words when it fails
 */
export async function unpackDebianPackages(
  names: readonly string[],
  { architecture }: { architecture: string },
): Promise<UnpackedPackages> {
  const folder = join(cacheDirectory(), "images", `debian-${architecture}`);
  const present = await readUnpacked(folder, names);
  if (present) return present;
  if (!existsSync("/usr/bin/apt-get"))
    throw new Error("building the image takes the libraries of Debian or Ubuntu: no apt-get here");
  const work = `${folder}.${process.pid}.unfinished`;
  await rm(work, { recursive: true, force: true });
  try {
    const [state, cache, root] = ["state", "cache", "root"].map((name) => join(work, name)) as [string, string, string];
    await mkdir(join(state, "lists", "partial"), { recursive: true });
    await mkdir(join(cache, "archives", "partial"), { recursive: true });
    await mkdir(root, { recursive: true });
    await writeFile(join(work, "status"), "");
    const options = [
      `APT::Architecture=${architecture}`,
      `APT::Architectures=${architecture}`,
      `Dir::State=${state}`,
      `Dir::State::status=${join(work, "status")}`,
      `Dir::Cache=${cache}`,
      // The folder is not readable for apt's own user.
      "APT::Sandbox::User=root",
      "Debug::NoLocking=1",
    ].flatMap((option) => ["-o", option]);
    const limits = { cwd: work, maxBuffer: 2 ** 24, timeout: 300_000 };
    await run("apt-get", [...options, "update", "-qq"], limits);
    await run("apt-get", [...options, "download", "-qq", ...names], limits);
    const archives = (await readdir(work)).filter((name) => name.endsWith(".deb"));
    const packages: DebianPackage[] = [];
    for (const archive of archives) {
      const file = resolve(work, archive);
      await run("dpkg-deb", ["-x", file, root]);
      packages.push(await controlOf(file));
      await rm(file);
    }
    packages.sort((a, b) => a.name.localeCompare(b.name));
    await writeFile(join(work, "packages.json"), JSON.stringify(packages));
    await rm(cache, { recursive: true });
    await rm(state, { recursive: true });
    await rm(folder, { recursive: true, force: true });
    // Another build may have been faster: then its copy is as good.
    await rename(work, folder).catch((error: unknown) => {
      if (!existsSync(join(folder, "packages.json"))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const unpacked = await readUnpacked(folder, names);
  if (!unpacked) throw new Error(`apt-get brought other packages than ${names.join(" ")}`);
  return unpacked;
}

async function readUnpacked(folder: string, names: readonly string[]): Promise<UnpackedPackages | undefined> {
  const list = join(folder, "packages.json");
  const made = await stat(list).catch(() => undefined);
  if (!made || Date.now() - made.mtimeMs > FRESH_MS) return undefined;
  const { default: packages } = (await import(list, { with: { type: "json" } })) as { default: DebianPackage[] };
  const complete = names.every((name) => packages.some((one) => one.name === name));
  return complete ? { root: join(folder, "root"), packages } : undefined;
}

async function controlOf(file: string): Promise<DebianPackage> {
  const format = "$" + "{Package}\\n$" + "{Version}\\n$" + "{Architecture}\\n$" + "{Maintainer}";
  const { stdout } = await run("dpkg-deb", ["-W", `--showformat=${format}`, file]);
  const [name = "", version = "", architecture = "", maintainer = ""] = stdout.split("\n");
  return { name, version, architecture, maintainer };
}
