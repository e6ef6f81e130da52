/** An earlier version of the product, chart and image, out of the repository's own history: what upgrades begin with. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cacheDirectory } from "../tools/cache-directory.ts";
import { DESCRIPTION } from "./built-image.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const WORKSPACE_SCOPE = "@cache-registry";

export interface EarlierVersion {
  /** Folder of the chart as it was. */
  readonly chart: string;
  /** The image as it was, for `ctr images import`. */
  readonly archive: string;
}

/**
 * Takes the tree of the first of these commits that this clone has, and builds the image with that tree's own program, but with the dependencies that are
 * installed now. Kept in the cache folder.
 * @throws Error when the history has none of them, or the old sources do not go with the new dependencies
 */
export async function earlierVersion(commits: readonly string[], reference: string): Promise<EarlierVersion> {
  const id = await commitId(commits);
  const lock = createHash("sha256")
    .update(await readFile(join(ROOT, "package-lock.json")))
    .digest("hex");
  const images = join(cacheDirectory(), "images");
  const directory = join(images, `earlier-${id.slice(0, 12)}-${lock.slice(0, 8)}`);
  const version = {
    chart: join(directory, "charts", "cache-registry"),
    archive: join(directory, "dist-image", "image.tar"),
  };
  if (existsSync(directory)) return version;
  await mkdir(images, { recursive: true });
  const building = await mkdtemp(join(images, ".building-"));
  try {
    const archive = join(building, "tree.tar");
    await run("git", ["-C", ROOT, "archive", "--format=tar", `--output=${archive}`, id]);
    await run("tar", ["-C", building, "-xf", archive]);
    await rm(archive);
    await linkDependencies(building);
    await run(process.execPath, [join(building, "hack", "image.ts"), reference], {
      cwd: building,
      maxBuffer: 16 << 20,
    });
    await writeFile(join(building, DESCRIPTION), "{}");
    await rename(building, directory).catch(() => undefined);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return version;
}

async function commitId(commits: readonly string[]): Promise<string> {
  let cause: unknown;
  for (const commit of commits) {
    try {
      const { stdout } = await run("git", ["-C", ROOT, "rev-parse", "--verify", "--quiet", `${commit}^{commit}`]);
      return stdout.trim();
    } catch (error) {
      cause = error;
    }
  }
  const hint = "the upgrade test needs the repository's history";
  throw new Error(`this clone has no commit ${commits.join(" or ")}; ${hint}`, { cause });
}

/** The installed dependencies for the old tree, except that its packages find each other and not the present ones. */
async function linkDependencies(tree: string): Promise<void> {
  const installed = join(ROOT, "node_modules");
  const linked = join(tree, "node_modules");
  await mkdir(join(linked, WORKSPACE_SCOPE), { recursive: true });
  for (const name of await readdir(installed)) {
    if (name !== WORKSPACE_SCOPE && name !== "cache-registry") await symlink(join(installed, name), join(linked, name));
  }
  for (const name of await readdir(join(tree, "packages"))) {
    await symlink(join(tree, "packages", name), join(linked, WORKSPACE_SCOPE, name));
  }
}
