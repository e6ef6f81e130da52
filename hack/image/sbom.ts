import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DebianPackage } from "./debian-packages.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Where the bill of materials is in the image. */
export const SBOM_PATH = "/usr/share/sbom/cache-registry.cdx.json";

type Component = Readonly<Record<string, unknown>>;

export interface SbomParts {
  readonly version: string;
  readonly architecture: string;
  readonly nodeVersion: string;
  readonly packages: readonly DebianPackage[];
  /** Folders of the npm packages that have a file in the bundle, relative to the repository. */
  readonly modules: readonly string[];
}

/** The image's bill of materials in CycloneDX 1.6 (ECMA-424). Without times and serial numbers: same content, same bytes. */
export async function softwareBillOfMaterials(parts: SbomParts): Promise<string> {
  const { version, architecture, nodeVersion, packages, modules } = parts;
  const components: Component[] = [
    {
      type: "platform",
      "bom-ref": `pkg:generic/node@${nodeVersion}`,
      name: "node",
      version: nodeVersion,
      purl: `pkg:generic/node@${nodeVersion}`,
      licenses: [{ license: { id: "MIT" } }],
    },
    ...packages.map(debianComponent),
    ...(await Promise.all(modules.map(npmComponent))),
  ];
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "container",
        "bom-ref": "cache-registry",
        name: "cache-registry",
        version,
        licenses: [{ license: { id: "Apache-2.0" } }],
        properties: [{ name: "oci:platform", value: `linux/${architecture}` }],
      },
    },
    components,
    dependencies: [{ ref: "cache-registry", dependsOn: components.map((component) => component["bom-ref"]) }],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** https://github.com/package-url/purl-spec, type deb. */
function debianComponent({ name, version, architecture, maintainer }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: "library", "bom-ref": purl, name, version, purl, supplier: { name: maintainer } };
}

async function npmComponent(folder: string): Promise<Component> {
  const manifest = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8")) as {
    name: string;
    version: string;
    license?: unknown;
  };
  const purl = `pkg:npm/${manifest.name.replace("@", "%40")}@${manifest.version}`;
  // An SPDX expression covers the single id, too.
  const licenses = typeof manifest.license === "string" ? { licenses: [{ expression: manifest.license }] } : {};
  return { type: "library", "bom-ref": purl, name: manifest.name, version: manifest.version, purl, ...licenses };
}
