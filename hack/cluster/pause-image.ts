import { copyFile, mkdir, rm } from "node:fs/promises";
import { arch } from "node:os";
import { join } from "node:path";
import { PAUSE_IMAGE } from "./layout.ts";
import { archiveLayout, packLayer, writeLayout } from "./oci-layout.ts";

/** Node's name of the processor → the image specification's. */
export function imageArchitecture(): string {
  return arch() === "x64" ? "amd64" : arch();
}

/** Makes the image that holds each pod's namespaces, as an archive for containerd. */
export async function makePauseImage(program: string, folder: string): Promise<string> {
  const content = join(folder, "content");
  await mkdir(content, { recursive: true });
  await copyFile(program, join(content, "pause"));
  await packLayer(content, join(folder, "layer.tar"));
  await writeLayout(join(folder, "layout"), {
    reference: PAUSE_IMAGE,
    images: [
      {
        platform: { os: "linux", architecture: imageArchitecture() },
        layers: [join(folder, "layer.tar")],
        config: { Entrypoint: ["/pause"], User: "65535:65535" },
      },
    ],
  });
  const archive = join(folder, "pause.tar");
  await archiveLayout(join(folder, "layout"), archive);
  for (const leftover of ["content", "layout", "layer.tar"]) await rm(join(folder, leftover), { recursive: true });
  return archive;
}
