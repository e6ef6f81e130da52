import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ensureDebianPackages } from "../tools/debian.ts";
import { type DebianPackage, unpackDebianPackages } from "./debian-packages.ts";
import { readElf } from "./elf.ts";
import { nodeBinary } from "./node-binary.ts";
import type { ImagePlatform } from "./platform.ts";

const run = promisify(execFile);

export const CA_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** Loaded by the C library when a host name is looked up: no program names them. */
const RESOLVERS = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];
const PACKAGES = ["ca-certificates", "libc6", "libgcc-s1", "libstdc++6"];

/**
 * The lower layer: Node.js without symbols, the libraries that it loads, certificate authorities, users, /tmp.
 * @returns the distribution's packages that files came from
 */
export async function writeRuntimeFiles(target: string, platform: ImagePlatform): Promise<readonly DebianPackage[]> {
  await ensureDebianPackages([platform.binutils], { log: (line) => process.stderr.write(`${line}\n`) });
  const { root, packages } = await unpackDebianPackages(PACKAGES, { architecture: platform.debian });
  const binary = join(target, "usr", "local", "bin", "node");
  await mkdir(dirname(binary), { recursive: true });
  await copyFile(await nodeBinary(platform), binary);
  await run(`${platform.gnu}-strip`, [binary]);
  await chmod(binary, 0o755);
  await copyLibraries({ binary, root, target, platform });
  await writeCertificates(root, target);
  await mkdir(join(target, "etc"), { recursive: true });
  await writeFile(join(target, "etc", "passwd"), "root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n");
  await writeFile(join(target, "etc", "group"), "root:x:0:\nnonroot:x:65532:\n");
  await mkdir(join(target, "tmp"));
  await chmod(join(target, "tmp"), 0o1777);
  return packages;
}

type Copy = {
  readonly binary: string;
  readonly root: string;
  readonly target: string;
  readonly platform: ImagePlatform;
};

/** Everything the loader would map, each file at the first place where the loader looks. */
async function copyLibraries({ binary, root, target, platform }: Copy): Promise<void> {
  const folders = [`lib/${platform.gnu}`, `usr/lib/${platform.gnu}`];
  const program = await readElf(binary);
  if (!program?.interpreter) throw new Error(`${binary} names no loader`);
  // The path in the program is a link in the package.
  const loader = join(target, program.interpreter);
  await mkdir(dirname(loader), { recursive: true });
  await copyFile(await realpathWithin(root, program.interpreter), loader);
  await chmod(loader, 0o755);
  const wanted = [...program.needed, ...RESOLVERS];
  const seen = new Set([program.interpreter.split("/").at(-1)]);
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const folder = folders.find((one) => existsSync(join(root, one, name)));
    if (!folder) throw new Error(`no package brought ${name}`);
    const file = join(target, "lib", platform.gnu, name);
    await mkdir(dirname(file), { recursive: true });
    await copyFile(await realpath(join(root, folder, name)), file);
    await chmod(file, 0o644);
    wanted.push(...((await readElf(file))?.needed ?? []));
  }
}

/** The loader's link is absolute in some packages, and folders such as /lib64 may be missing in the unpacked tree. */
async function realpathWithin(root: string, path: string): Promise<string> {
  const name = path.split("/").at(-1) ?? "";
  const places = [path, ...(await readdir(join(root, "lib"))).map((folder) => `/lib/${folder}/${name}`)];
  for (const place of places) {
    const real = await realpath(join(root, place)).catch(() => "");
    if (real.startsWith(root)) return real;
  }
  throw new Error(`no package brought the loader ${path}`);
}

/** All authorities in one file, as the package's own script writes it on a machine. */
async function writeCertificates(root: string, target: string): Promise<void> {
  const folder = join(root, "usr", "share", "ca-certificates", "mozilla");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".crt")).sort();
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
  await mkdir(join(target, dirname(CA_CERTIFICATES)), { recursive: true });
  await writeFile(join(target, CA_CERTIFICATES), texts.join(""));
}
