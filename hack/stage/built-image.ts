/** Our container image, built once per state of the sources: every file of end-to-end tests opens a stage of its own. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuiltImage, buildImage } from "../image.ts";
import { cacheDirectory } from "../tools/cache-directory.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What goes into the image, and what decides how. The lock file stands for all dependencies, Node.js among them. */
const INPUTS = [
  "packages",
  "hack/image.ts",
  "hack/image",
  "hack/bundle.ts",
  "hack/cluster/oci-layout.ts",
  "package.json",
  "package-lock.json",
];
/** In each folder with an image; last used when it was last touched. */
export const DESCRIPTION = "built.json";
/** Each takes about 90 MB. */
const KEPT = 8;

/** @returns the image of the present sources, from the cache folder when it was built before */
export async function builtImage(reference: string, log: (line: string) => void): Promise<BuiltImage> {
  const images = join(cacheDirectory(), "images");
  const directory = join(images, imageKey({ root: ROOT, reference }));
  const present = await readBuilt(directory);
  if (present) return present;
  log("building the container image");
  await mkdir(images, { recursive: true });
  const building = await mkdtemp(join(images, ".building-"));
  try {
    const { digest, sizes } = await buildImage({ directory: building, reference });
    await writeFile(join(building, DESCRIPTION), JSON.stringify({ digest, sizes }));
    // Another process may have built the same meanwhile; then its folder stays.
    await rename(building, directory).catch(() => undefined);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  prune(images);
  const built = await readBuilt(directory);
  if (!built) throw new Error(`no image in ${directory} although it was built`);
  return built;
}

/** Changes when anything changes that goes into the image: paths and contents of its inputs, and its name. */
export function imageKey({ root, reference }: { readonly root: string; readonly reference: string }): string {
  const hash = createHash("sha256").update(`${reference} ${process.arch}`);
  for (const file of INPUTS.flatMap((input) => filesOf(join(root, input)))) {
    hash.update(`\0${file.slice(root.length)}\0`).update(readFileSync(file));
  }
  return hash.digest("hex").slice(0, 16);
}

function filesOf(path: string): string[] {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .filter(({ name }) => name !== "node_modules" && !name.endsWith(".test.ts"))
    .map(({ name }) => name)
    .toSorted()
    .flatMap((name) => filesOf(join(path, name)));
}

async function readBuilt(directory: string): Promise<BuiltImage | undefined> {
  const text = await readFile(join(directory, DESCRIPTION), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const now = new Date();
  utimesSync(join(directory, DESCRIPTION), now, now);
  const { digest, sizes } = JSON.parse(text) as Pick<BuiltImage, "digest" | "sizes">;
  return { archive: join(directory, "image.tar"), layout: join(directory, "layout"), digest, sizes };
}

/** Keeps the images used last, and what is being built. */
function prune(images: string): void {
  const built = readdirSync(images).flatMap((name) => {
    const used = statSync(join(images, name, DESCRIPTION), { throwIfNoEntry: false })?.mtimeMs;
    return used === undefined || name.startsWith(".") ? [] : [{ name, used }];
  });
  for (const { name } of built.sort((a, b) => b.used - a.used).slice(KEPT))
    rmSync(join(images, name), { recursive: true, force: true });
}
