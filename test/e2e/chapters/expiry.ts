import { expect, it } from "vitest";
import { deployment, pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

const IMAGE = "docker.io/library/leaving:1.0";
const LAYER_BYTES = 16 << 20;

export function expiry(scene: () => Scene): void {
  const phase = async () => (await scene().cachedImage(IMAGE))?.status;
  const stored = async () => ((await scene().release.management("/stats")).body as { bytes: number }).bytes;
  const untilExpiring = () =>
    waitUntil("expiresAt", async () => {
      const status = await phase();
      return status?.expiresAt && status.unusedSince ? status : undefined;
    });
  const untilUsed = () =>
    waitUntil("the expiry to be cancelled", async () => {
      const status = await phase();
      return status && status.expiresAt === undefined && status.unusedSince === undefined ? true : undefined;
    });

  it("shows unusedSince and expiresAt when the Deployment is gone", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/leaving", tag: "1.0", layerBytes: LAYER_BYTES });
    await scene().apply(deployment("leaving", "leaving:1.0"));
    await stage.cluster.kubectl(["rollout", "status", "deployment/leaving", "--timeout=90s"]);
    await waitUntil("Ready", async () => ((await phase())?.phase === "Ready" ? true : undefined));
    await stage.cluster.kubectl(["delete", "deployment", "leaving", "--wait=true"]);
    const status = await untilExpiring();
    const delay = Date.parse(status.expiresAt ?? "") - Date.parse(status.unusedSince ?? "");
    expect(delay).toBe(15_000);
    expect(status.phase).toBe("Expiring");
  });

  it("is cancelled by a pod that comes back, also by one without our label", async () => {
    const { uid } = (await scene().cachedImage(IMAGE))?.metadata ?? {};
    await scene().apply(pod("back", "leaving:1.0"));
    await untilUsed();
    await scene().deletePod("back");
    await untilExpiring();
    // Never admitted by us, but its spec names the image.
    await scene().apply(
      pod("unlabelled", "leaving:1.0", { labels: { "cache-registry.enix.io/image-caching-policy": "ignore" } }),
    );
    await untilUsed();
    expect((await scene().cachedImage(IMAGE))?.metadata.uid).toBe(uid);
    await scene().deletePod("unlabelled");
  });

  it("removes the object after the delay, and the disk space comes back without a restart", async () => {
    const { stage, release } = scene();
    const before = await stored();
    await waitUntil("the CachedImage to go", async () => ((await scene().cachedImage(IMAGE)) ? undefined : true));
    await waitUntil("the bytes to go", async () => ((await stored()) <= before - LAYER_BYTES ? true : undefined));
    const restarts = await stage.cluster.kubectl([
      "-n",
      release.namespace,
      "get",
      "pods",
      "-o",
      "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
    ]);
    expect(
      restarts.split(" ").every((count) => count === "0"),
      restarts,
    ).toBe(true);
    const { status } = await release.management(`/images/${encodeURIComponent(IMAGE)}`);
    expect(status).toBe(404);
  });
}
