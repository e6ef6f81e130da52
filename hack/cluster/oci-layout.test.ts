import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Descriptor, packLayer, writeLayout } from "./oci-layout.ts";

describe("OCI layout", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "layout-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function layer(name: string, mtime: number): Promise<string> {
    const content = join(folder, name);
    mkdirSync(content);
    writeFileSync(join(content, "file"), "content");
    utimesSync(join(content, "file"), mtime, mtime);
    await packLayer(content, `${content}.tar`);
    return `${content}.tar`;
  }
  const image = (architecture: string, layers: string[]) => ({
    platform: { os: "linux", architecture },
    layers,
    config: { Entrypoint: ["/file"] },
  });
  const blob = (layout: string, digest: string) => readFileSync(join(layout, "blobs", ...digest.split(":")));

  it("is the same for the same content", async () => {
    const one = await writeLayout(join(folder, "l1"), { images: [image("amd64", [await layer("a", 1)])] });
    const two = await writeLayout(join(folder, "l2"), { images: [image("amd64", [await layer("b", 2)])] });
    expect(two.digest).toBe(one.digest);
  });

  it("holds one image under the name for containerd", async () => {
    const layout = join(folder, "layout");
    const tar = await layer("a", 1);
    const { digest, mediaType } = await writeLayout(layout, { images: [image("amd64", [tar])], reference: "r/x:1" });
    expect(mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
    const [entry] = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")).manifests;
    expect(entry).toMatchObject({ digest, annotations: { "io.containerd.image.name": "r/x:1" } });
    const manifest = JSON.parse(blob(layout, digest).toString());
    expect(gunzipSync(blob(layout, manifest.layers[0].digest))).toEqual(readFileSync(tar));
  });

  it("makes an index of several platforms", async () => {
    const layout = join(folder, "layout");
    const tar = await layer("a", 1);
    const { digest, mediaType } = await writeLayout(layout, { images: [image("amd64", [tar]), image("arm64", [tar])] });
    expect(mediaType).toBe("application/vnd.oci.image.index.v1+json");
    const { manifests }: { manifests: (Descriptor & { platform: object })[] } = JSON.parse(
      blob(layout, digest).toString(),
    );
    expect(manifests.map(({ platform }) => platform)).toEqual([
      { os: "linux", architecture: "amd64" },
      { os: "linux", architecture: "arm64" },
    ]);
  });
});
