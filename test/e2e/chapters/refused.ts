import { afterAll, beforeAll, expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

const CACHED = "localhost:7439/docker.io/locked/app:1";
const ORIGINAL = "docker.io/locked/app:1";

/** Nothing tells the webhook that the image is private: no pull secret, and an upstream that wants to know who asks. */
export function refusedPull(scene: () => Scene): void {
  beforeAll(async () => {
    const { stage } = scene();
    await stage.publish({ repository: "locked/app", tag: "1" });
    stage.upstream.refuse({
      status: 401,
      headers: { "www-authenticate": 'Basic realm="locked"' },
      pathMatch: /^\/v2\/locked\//,
    });
  });
  afterAll(() => scene().stage.upstream.refuse(undefined));

  it("gives the pod its original image back in place, says so in an Event, and lets it start when it may", async () => {
    const { stage } = scene();
    await scene().apply(pod("locked", "locked/app:1"));
    const admitted = await scene().pod("locked");
    expect(admitted.spec.containers[0]?.image).toBe(CACHED);
    const restored = await waitUntil("the original image to be given back", async () => {
      const found = await scene().pod("locked");
      return found.spec.containers[0]?.image === CACHED ? undefined : found;
    });
    expect(restored.spec.containers[0]?.image).toBe(ORIGINAL);
    const selector = "reason=OriginalImageRestored,involvedObject.name=locked";
    const notes = await waitUntil("the Event", async () => {
      const args = ["get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}"];
      return (await stage.cluster.kubectl(args)) || undefined;
    });
    expect(notes).toContain(`The pull of ${ORIGINAL} through the cache was refused`);
    // Now the node pulls by itself, and here nothing but the upstream's change of mind can help it.
    stage.upstream.refuse(undefined);
    const started = await scene().running("locked");
    expect(started.spec.containers[0]?.image).toBe(ORIGINAL);
    await scene().deletePod("locked");
  });
}
