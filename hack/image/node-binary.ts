import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheDirectory } from "../tools/cache-directory.ts";
import type { ImagePlatform } from "./platform.ts";

const run = promisify(execFile);
const installed = join(import.meta.dirname, "..", "..", "node_modules", "node");

/** The version of Node.js that package.json pins: the one that everything here runs on. */
export async function nodeVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as { version: string }).version;
}

/** The pinned Node.js for a platform: this machine's from node_modules, another one's from the npm package for it. */
export async function nodeBinary({ node }: ImagePlatform): Promise<string> {
  if (node === process.arch) return join(installed, "bin", "node");
  const name = `node-linux-${node}`;
  const version = await nodeVersion();
  const images = join(cacheDirectory(), "images");
  const file = join(images, `${name}-${version}`, "bin", "node");
  if (existsSync(file)) return file;
  await mkdir(images, { recursive: true });
  const work = await mkdtemp(join(images, `${name}-`));
  try {
    // npm checks the archive against the registry's checksum; no script of the package runs.
    await run("npm", ["pack", "--ignore-scripts", "--silent", `${name}@${version}`], { cwd: work, timeout: 300_000 });
    const archive = (await readdir(work)).find((entry) => entry.endsWith(".tgz"));
    if (!archive) throw new Error(`npm brought no ${name} ${version}`);
    await run("tar", ["-xzf", archive], { cwd: work });
    await rename(join(work, "package"), join(images, `${name}-${version}`)).catch((error: unknown) => {
      if (!existsSync(file)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return file;
}
