/**
 * The container image, built without a docker daemon: Node.js (stripped) with the libraries it needs in one layer, the
 * bundle in another. Runs as uid 65532 with a read-only root. `npm run image [reference]` builds it for every platform.
 */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "./bundle.ts";
import { archiveLayout, type ImageSpec, packLayer, writeLayout } from "./cluster/oci-layout.ts";
import { nodeVersion } from "./image/node-binary.ts";
import { hostPlatform, type ImagePlatform, PLATFORMS } from "./image/platform.ts";
import { CA_CERTIFICATES, writeRuntimeFiles } from "./image/runtime-files.ts";
import { SBOM_PATH, softwareBillOfMaterials } from "./image/sbom.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

export type BuiltImage = {
  /** OCI layout in one tar, as `ctr image import` and `skopeo` take it. */
  readonly archive: string;
  /** The layout as a folder, as `crane push` takes it. */
  readonly layout: string;
  /** Of the image, or of the index when there are several platforms. */
  readonly digest: string;
  /** Compressed bytes of each platform's manifest, configuration and layers. */
  readonly sizes: readonly { readonly platform: string; readonly size: number }[];
};

export type BuildOptions = {
  /** Is emptied first. */
  readonly directory: string;
  /** The name under which containerd imports the image. */
  readonly reference: string;
  /** This machine's when nothing is said. */
  readonly platforms?: readonly ImagePlatform[];
};

export async function buildImage({
  directory,
  reference,
  platforms = [hostPlatform()],
}: BuildOptions): Promise<BuiltImage> {
  const work = await mkdtemp(join(tmpdir(), "cache-registry-image-"));
  try {
    const modules = await bundle(join(work, "app", "app"));
    await packLayer(join(work, "app"), join(work, "app.tar"));
    const images: ImageSpec[] = [];
    for (const platform of platforms) images.push(await imageOf({ work, platform, modules }));
    const layout = join(directory, "layout");
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    const descriptor = await writeLayout(layout, { reference, images, compression: 6 });
    for (const { architecture } of platforms) {
      await writeFile(join(directory, `sbom-${architecture}.cdx.json`), await readFile(sbomFile(work, architecture)));
    }
    const archive = join(directory, "image.tar");
    await archiveLayout(layout, archive);
    return { archive, layout, digest: descriptor.digest, sizes: await sizesOf(layout, descriptor.digest) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const sbomFile = (work: string, architecture: string) => join(work, `runtime-${architecture}`, SBOM_PATH);

async function imageOf(options: {
  readonly work: string;
  readonly platform: ImagePlatform;
  readonly modules: readonly string[];
}): Promise<ImageSpec> {
  const { work, platform, modules } = options;
  const { architecture } = platform;
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  const folder = join(work, `runtime-${architecture}`);
  const packages = await writeRuntimeFiles(folder, platform);
  const parts = { version, architecture, nodeVersion: await nodeVersion(), packages, modules };
  await mkdir(dirname(sbomFile(work, architecture)), { recursive: true });
  await writeFile(sbomFile(work, architecture), await softwareBillOfMaterials(parts));
  const tar = join(work, `runtime-${architecture}.tar`);
  await packLayer(folder, tar);
  return {
    platform: { os: "linux", architecture },
    layers: [tar, join(work, "app.tar")],
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
        "org.opencontainers.image.description": "Image cache and OCI registry for Kubernetes clusters",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
      },
    },
  };
}

type Descriptor = {
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string };
};
type Manifest = {
  readonly manifests?: readonly Descriptor[];
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
};

async function sizesOf(layout: string, digest: string): Promise<BuiltImage["sizes"]> {
  const fileOf = (of: string) => join(layout, "blobs", ...of.split(":"));
  const read = async (of: string) => JSON.parse(await readFile(fileOf(of), "utf8")) as Manifest;
  const { manifests = [{ digest, size: (await stat(fileOf(digest))).size }] } = await read(digest);
  return Promise.all(
    manifests.map(async (manifest) => {
      const { config, layers = [] } = await read(manifest.digest);
      const parts = [manifest, ...(config ? [config] : []), ...layers];
      const platform = `linux/${manifest.platform?.architecture ?? hostPlatform().architecture}`;
      return { platform, size: parts.reduce((sum, { size }) => sum + size, 0) };
    }),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const directory = join(root, "dist-image");
  const reference = process.argv[2] ?? "cache-registry.local/cache-registry:dev";
  const { archive, digest, sizes } = await buildImage({ directory, reference, platforms: PLATFORMS });
  process.stdout.write(`${archive} ${digest}\n`);
  for (const { platform, size } of sizes)
    process.stdout.write(`${platform} ${(size / 2 ** 20).toFixed(1)} MiB compressed\n`);
}
