import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeHostsToml } from "../../../hack/cluster/hosts-toml.ts";
import { pod } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

export function containerd(scene: () => Scene): void {
  it("pulls with a _default hosts.toml that names the registry, by ?ns=", async () => {
    const { stage, release } = scene();
    const { certsDir } = stage.cluster;
    await stage.publish({ repository: "library/mirrored", tag: "1", layerBytes: 1 << 20 });
    // A registry with a folder of its own does not use _default: the stand-in's goes for a moment.
    await rm(join(certsDir, "docker.io"), { recursive: true });
    await writeHostsToml({ certsDir, registry: "_default", endpoints: [await release.registryUrl()] });
    try {
      stage.upstream.reset();
      await scene().apply(
        pod("mirrored", "mirrored:1", { labels: { "cache-registry.enix.io/image-caching-policy": "ignore" } }),
      );
      const started = await scene().running("mirrored");
      expect(started.spec.containers[0]?.image).toBe("mirrored:1");
      expect(Object.values(scene().upstreamGets("library/mirrored", "blobs"))).toEqual([1, 1, 1]);
      const tags = await fetch(`${await release.registryUrl()}/v2/docker.io/library/mirrored/tags/list`);
      expect(await tags.json()).toMatchObject({ tags: ["1"] });
    } finally {
      await rm(join(certsDir, "_default"), { recursive: true });
      await writeHostsToml({
        certsDir,
        registry: "docker.io",
        endpoints: [stage.upstreamUrl],
        server: stage.upstreamUrl,
      });
    }
    await scene().deletePod("mirrored");
  });

  it("finds the proxy on both loopback addresses of the node", async () => {
    const path = "/v2/docker.io/library/mirrored/manifests/1";
    for (const host of ["127.0.0.1", "[::1]"]) {
      const response = await fetch(`http://${host}:7439${path}`, {
        headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
      });
      expect(response.status, host).toBe(200);
      expect(response.headers.get("docker-content-digest")).toMatch(/^sha256:/);
    }
  });
}
