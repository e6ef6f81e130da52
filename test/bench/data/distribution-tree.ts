import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { digestOfBytes } from "@cache-registry/core/verify";
import { type Contents, repositoryName } from "./filled-store.ts";

/** The same names in the folders of distribution's file-system driver, as far as its lists look at them. */
export function fillDistribution(root: string, { repositories, tags }: Omit<Contents, "manifestsEach">): void {
  const base = join(root, "docker", "registry", "v2", "repositories");
  const link = digestOfBytes(Buffer.from("{}"));
  for (let index = 0; index < repositories; index += 1) {
    mkdirSync(join(base, repositoryName(index), "_layers"), { recursive: true });
  }
  const folder = join(base, repositoryName(0), "_manifests", "tags");
  for (let index = 0; index < tags; index += 1) {
    const current = join(folder, `v${String(index).padStart(6, "0")}`, "current");
    mkdirSync(current, { recursive: true });
    writeFileSync(join(current, "link"), link);
  }
}
