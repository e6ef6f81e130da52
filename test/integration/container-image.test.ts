/** The image of both platforms as `npm run image` builds it: what is in it, what starts from it, what a registry makes of it. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readElf } from "../../hack/image/elf.ts";
import { PLATFORMS } from "../../hack/image/platform.ts";
import { SBOM_PATH } from "../../hack/image/sbom.ts";
import { type BuiltImage, buildImage } from "../../hack/image.ts";
import { clientTools } from "../support/client-tools.ts";
import { commandsOf } from "../support/document-commands.ts";
import { startRegistryProcess } from "../support/registry-process.ts";

const run = promisify(execFile);
const MiB = 2 ** 20;
const platforms = PLATFORMS.map(({ architecture, machine }) => ({ architecture, machine }));

type Manifest = {
  readonly manifests?: readonly { readonly digest: string; readonly platform: { readonly architecture: string } }[];
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
};

let work: string;
let image: BuiltImage;
const blobFile = (digest: string) => join(image.layout, "blobs", ...digest.split(":"));
const json = async <Value>(digest: string) => JSON.parse(await readFile(blobFile(digest), "utf8")) as Value;
const rootOf = (architecture: string) => join(work, `root-${architecture}`);

async function manifestOf(architecture: string): Promise<Manifest> {
  const { manifests = [] } = await json<Manifest>(image.digest);
  const found = manifests.find(({ platform }) => platform.architecture === architecture);
  if (!found) throw new Error(`no ${architecture} in the index`);
  return json<Manifest>(found.digest);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-image-"));
  image = await buildImage({ directory: join(work, "image"), reference: "image.test/app:1", platforms: PLATFORMS });
  for (const { architecture } of platforms) {
    await mkdir(rootOf(architecture));
    const { layers } = await manifestOf(architecture);
    for (const { digest } of layers) await run("tar", ["-xzf", blobFile(digest), "-C", rootOf(architecture)]);
  }
}, 300_000);
afterAll(() => rm(work, { recursive: true, force: true }));

describe.each(platforms)("linux/$architecture", ({ architecture, machine }) => {
  it("is under 60 MiB compressed and runs as nobody", async () => {
    const size = image.sizes.find(({ platform }) => platform === `linux/${architecture}`)?.size ?? Infinity;
    expect(size).toBeGreaterThan(20 * MiB);
    expect(size).toBeLessThan(60 * MiB);
    const { config } = await manifestOf(architecture);
    expect(await json(config.digest)).toMatchObject({
      os: "linux",
      architecture,
      config: { User: "65532:65532", Cmd: ["registry"] },
    });
  });

  it("holds programs and libraries of that processor alone, and every library that they need", async () => {
    const files = await filesBelow(rootOf(architecture));
    const names = new Set(files.map((file) => file.split("/").at(-1)));
    const binaries = [];
    for (const file of files) {
      const elf = await readElf(file);
      if (elf) binaries.push({ file, ...elf });
    }
    expect(binaries.filter((binary) => binary.machine !== machine)).toEqual([]);
    expect(binaries.flatMap(({ needed }) => needed).filter((name) => !names.has(name))).toEqual([]);
    const node = binaries.find(({ file }) => file.endsWith("/usr/local/bin/node"));
    expect(existsSync(join(rootOf(architecture), node?.interpreter ?? "no loader"))).toBe(true);
    expect(binaries.length).toBeGreaterThan(6);
  });

  it("holds nothing that belongs to root alone and no file with a set-uid bit", async () => {
    const modes = await Promise.all(
      (await filesBelow(rootOf(architecture))).map(async (file) => ({ file, mode: (await stat(file)).mode })),
    );
    expect(modes.filter(({ mode }) => (mode & 0o6000) !== 0 || (mode & 0o004) === 0)).toEqual([]);
  });

  it("says what it is made of", async () => {
    const text = await readFile(join(rootOf(architecture), SBOM_PATH), "utf8");
    const { specVersion, components } = JSON.parse(text) as {
      specVersion: string;
      components: { purl: string; name: string }[];
    };
    expect(specVersion).toBe("1.6");
    const purls = components.map(({ purl }) => purl);
    expect(new Set(purls).size).toBe(purls.length);
    const version = (pattern: RegExp) => purls.filter((purl) => pattern.test(purl)).length;
    expect(version(/^pkg:generic\/node@24\.\d+\.\d+$/)).toBe(1);
    expect(version(new RegExp(`^pkg:deb/debian/libc6@[^?]+\\?arch=${architecture}$`))).toBe(1);
    const { dependencies } = JSON.parse(
      await readFile(new URL("../../packages/registry/package.json", import.meta.url), "utf8"),
    ) as { dependencies: Record<string, string> };
    const names = new Set(components.map(({ name }) => name));
    const ours = Object.keys(dependencies).filter((name) => !name.startsWith("@cache-registry/"));
    expect(ours.filter((name) => !names.has(name))).toEqual([]);
  });
});

describe("the image of this machine's platform", () => {
  const here = process.arch === "x64" ? "amd64" : process.arch;
  const start = (args: readonly string[]) =>
    run("chroot", ["--userspec=65532:65532", rootOf(here), "/usr/local/bin/node", ...args], {
      env: { PATH: "/usr/sbin:/usr/bin" },
    });

  it("starts Node.js as its user, finds names and trusts the usual authorities", async () => {
    // As the kubelet gives it to every container.
    await writeFile(join(rootOf(here), "etc", "hosts"), "127.0.0.9 registry.test\n");
    const program = `
      require("node:dns").lookup("registry.test", (error, address) => {
        console.log(JSON.stringify({ uid: process.getuid(), address, error }));
      });`;
    expect(JSON.parse((await start(["-e", program])).stdout)).toMatchObject({ uid: 65532, address: "127.0.0.9" });
    const certificates = await readFile(join(rootOf(here), "etc/ssl/certs/ca-certificates.crt"), "utf8");
    expect(certificates.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(100);
  });

  it("has every command", async () => {
    const { stdout } = await start(["/app/main.js", "--help"]);
    for (const command of ["registry", "webhook", "controllers", "proxy"]) expect(stdout).toContain(command);
  });
});

it("goes as one index into a registry, ours, as the README says, and comes out the same", async () => {
  const crane = await clientTools(["crane"], work);
  const registry = await startRegistryProcess({});
  try {
    const reference = `${new URL(registry.url).host}/cache-registry:test`;
    const command = commandsOf("README.md").find(({ text }) => text.startsWith("crane push dist-image/layout <your"));
    const [program = "", ...args] = (command?.text ?? "")
      .replace("dist-image/layout", image.layout)
      .replace("<your registry>/<repository>:<tag>", reference)
      .split(" ");
    await crane(program, args);
    await crane("crane", ["validate", "--remote", reference]);
    expect(await crane("crane", ["digest", reference])).toBe(image.digest);
    const { manifests = [] } = JSON.parse(await crane("crane", ["manifest", reference])) as Manifest;
    expect(manifests.map(({ platform }) => platform.architecture).sort()).toEqual(["amd64", "arm64"]);
  } finally {
    await registry.dispose();
  }
});
