/**
 * The container image, built without a docker daemon: Node.js (stripped) with the libraries it needs in one layer, the
 * bundle in another. Runs as uid 65532 with a read-only root.
 */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { bundle } from "./bundle.ts";
import { archiveLayout, packLayer, writeLayout } from "./cluster/oci-layout.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const CA_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

export type BuiltImage = {
  /** OCI layout in one tar, as `ctr image import` and `skopeo` take it. */
  readonly archive: string;
  /** The layout as a folder, as `crane push` takes it. */
  readonly layout: string;
  readonly digest: string;
  /** Compressed bytes of all blobs. */
  readonly size: number;
};

/** Builds into `directory`; `reference` is the name under which containerd imports the image. */
export async function buildImage({
  directory,
  reference,
}: {
  directory: string;
  reference: string;
}): Promise<BuiltImage> {
  const work = await mkdtemp(join(tmpdir(), "cache-registry-image-"));
  try {
    await runtimeFiles(join(work, "runtime"));
    await bundle(join(work, "app", "app"));
    await packLayer(join(work, "runtime"), join(work, "runtime.tar"));
    await packLayer(join(work, "app"), join(work, "app.tar"));
    const layout = join(directory, "layout");
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    const descriptor = await writeLayout(layout, {
      reference,
      images: [
        {
          platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch },
          layers: [join(work, "runtime.tar"), join(work, "app.tar")],
          config: {
            // Source maps cost about 76 MiB at idle; names are not minified, so stacks can be read without.
            Entrypoint: ["/usr/local/bin/node", "--max-semi-space-size=8", "/app/main.js"],
            Cmd: ["registry"],
            User: "65532:65532",
            WorkingDir: "/",
            Env: [
              "PATH=/usr/local/bin",
              "NODE_ENV=production",
              `NODE_EXTRA_CA_CERTS=${CA_CERTIFICATES}`,
              `SSL_CERT_FILE=${CA_CERTIFICATES}`,
            ],
            Labels: {
              "org.opencontainers.image.title": "cache-registry",
              "org.opencontainers.image.licenses": "Apache-2.0",
            },
          },
        },
      ],
    });
    const archive = join(directory, "image.tar");
    await archiveLayout(layout, archive);
    return { archive, layout, digest: descriptor.digest, size: (await stat(archive)).size };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function runtimeFiles(target: string): Promise<void> {
  const node = join(root, "node_modules", "node", "bin", "node");
  const binary = join(target, "usr", "local", "bin", "node");
  await mkdir(dirname(binary), { recursive: true });
  await copyFile(node, binary);
  await run("strip", [binary]);
  for (const library of await librariesOf(node)) {
    await mkdir(dirname(join(target, library)), { recursive: true });
    await copyFile(await realpath(library), join(target, library));
  }
  await mkdir(join(target, "etc", "ssl", "certs"), { recursive: true });
  await copyFile(CA_CERTIFICATES, join(target, CA_CERTIFICATES));
  await writeFile(join(target, "etc", "passwd"), "root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n");
  await writeFile(join(target, "etc", "group"), "root:x:0:\nnonroot:x:65532:\n");
  await mkdir(join(target, "tmp"));
  await chmod(join(target, "tmp"), 0o1777);
}

/** What the dynamic loader would map, the loader included. Host look-ups (nss) are built into this libc's loader path. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run("ldd", [program]);
  const paths = [...stdout.matchAll(/(\/[^\s()]+)/g)].map((match) => match[1] ?? "");
  const libc = paths.find((path) => /\/libc\.so/.test(path));
  const resolvers = libc
    ? ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"].map((name) => join(dirname(libc), name))
    : [];
  const present = await Promise.all(
    resolvers.map(async (path) => ((await stat(path).catch(() => undefined)) ? path : "")),
  );
  return [...new Set([...paths, ...present].filter((path) => path !== ""))];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const directory = join(root, "dist-image");
  const built = await buildImage({
    directory,
    reference: process.argv[2] ?? "cache-registry.local/cache-registry:dev",
  });
  process.stdout.write(`${built.archive} ${built.digest} ${(built.size / 2 ** 20).toFixed(1)} MiB\n`);
}
