import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

export function coldPull(scene: () => Scene): void {
  it("fetches each blob from the upstream exactly once for the first pod and the pre-warming together", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/cold", tag: "1.0", layerBytes: 24 << 20 });
    stage.upstream.reset();
    await scene().apply(pod("cold", "cold:1.0"));
    const started = await scene().running("cold");
    expect(started.spec.containers[0]?.image).toBe("localhost:7439/docker.io/library/cold:1.0");
    const image = await waitUntil("the CachedImage to be Ready", async () => {
      const found = await scene().cachedImage("docker.io/library/cold:1.0");
      return found?.status?.phase === "Ready" ? found : undefined;
    });
    expect(image.status?.usedBy?.count).toBe(1);
    expect(image.status?.size).toBeGreaterThan(24 << 20);
    const blobs = scene().upstreamGets("library/cold", "blobs");
    expect(Object.keys(blobs).length).toBe(3);
    expect(Object.values(blobs)).toEqual([1, 1, 1]);
  });

  it("makes one CachedImage however many pods use the image", async () => {
    for (const name of ["cold-a", "cold-b"]) await scene().apply(pod(name, "docker.io/library/cold:1.0"));
    await Promise.all(["cold-a", "cold-b"].map((name) => scene().running(name)));
    await waitUntil("three pods to be counted", async () => {
      const found = await scene().cachedImage("docker.io/library/cold:1.0");
      return found?.status?.usedBy?.count === 3 ? true : undefined;
    });
    const images = await scene().cachedImages();
    expect(images.filter(({ spec }) => spec.sourceImage.includes("library/cold"))).toHaveLength(1);
    for (const name of ["cold-a", "cold-b"]) await scene().deletePod(name);
  });

  it("serves an index by digest and fetches only this node's platform", async () => {
    const { stage } = scene();
    const digest = await stage.publish({ repository: "team/multi", tag: "1", layerBytes: 2 << 20, multiArch: true });
    stage.upstream.reset();
    await scene().apply(pod("multi", `docker.io/team/multi@${digest}`));
    await scene().running("multi");
    await waitUntil("the CachedImage to be Ready", async () => {
      const found = await scene().cachedImage(`docker.io/team/multi@${digest}`);
      return found?.status?.phase === "Ready" ? found : undefined;
    });
    const blobs = scene().upstreamGets("team/multi", "blobs");
    // Of two platforms with a config, a program and a data layer each: one.
    expect(Object.values(blobs)).toEqual([1, 1, 1]);
    await scene().deletePod("multi");
  });
}
