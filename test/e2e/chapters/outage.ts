import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import { webhookRewrites } from "../../../hack/stage/webhook-gate.ts";
import type { Scene } from "../scene.ts";

const HELD = { spec: { schedulingGates: [{ name: "e2e/held" }] } };
const CACHED = "localhost:7439/docker.io/library/cold:1.0";

export function outage(scene: () => Scene): void {
  async function scaleRegistry(replicas: number): Promise<void> {
    const { stage, release } = scene();
    const { kubectl } = stage.cluster;
    const selector = "app.kubernetes.io/component=registry";
    await kubectl(["-n", release.namespace, "scale", "deployment", "-l", selector, `--replicas=${replicas}`]);
    await waitUntil(`${replicas} registry pods`, async () => {
      const ready = await kubectl([
        "-n",
        release.namespace,
        "get",
        "pods",
        "-l",
        selector,
        "-o",
        "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}",
      ]);
      return ready === (replicas === 0 ? "" : "True") ? true : undefined;
    });
  }

  it("starts a second pod from the cache with the upstream off, after the node forgot the image", async () => {
    const { stage } = scene();
    // Names the image through all of this, so that it does not expire while the node forgets it.
    await scene().apply(pod("holder", "cold:1.0", HELD));
    await scene().deletePod("cold");
    await stage.upstream.off();
    await stage.cluster.removeImage(CACHED);
    await scene().apply(pod("cold-second", "cold:1.0"));
    const started = await scene().running("cold-second");
    expect(started.spec.containers[0]?.image).toBe(CACHED);
    await stage.upstream.on();
  });

  it("starts an admitted pod through the proxy with the registry off, after the node forgot the image", async () => {
    const { stage } = scene();
    // Admitted now, started later: the gate is lifted when the registry is gone.
    await scene().apply(pod("orphaned", "cold:1.0", HELD));
    expect((await scene().pod("orphaned")).spec.containers[0]?.image).toBe(CACHED);
    await scaleRegistry(0);
    await scene().deletePod("cold-second");
    await stage.cluster.removeImage(CACHED);
    stage.upstream.reset();
    await stage.cluster.kubectl([
      "patch",
      "pod",
      "orphaned",
      "--type=json",
      "-p",
      '[{"op":"remove","path":"/spec/schedulingGates"}]',
    ]);
    await scene().running("orphaned");
    expect(Object.keys(scene().upstreamGets("library/cold", "blobs")).length).toBe(3);
    await scene().deletePod("orphaned");
  });

  it("fills the emptied cache again by itself when the registry is back", async () => {
    await scene().apply(pod("cold-third", "cold:1.0"));
    await scene().running("cold-third");
    await scaleRegistry(1);
    // The emptyDir went with the pod: the controllers see what is missing and warm it.
    await waitUntil(
      "the registry to hold the image again",
      async () => {
        const { status, body } = await scene().release.management(
          `/images/${encodeURIComponent("docker.io/library/cold:1.0")}`,
        );
        return status === 200 && (body as { state: string }).state === "ready" ? true : undefined;
      },
      { timeoutMs: 120_000 },
    );
    await scene().deletePod("cold-third");
    await scene().deletePod("holder");
    // On a slow machine the registry was away for longer than the minute after which nothing is rewritten.
    await webhookRewrites(scene().stage.cluster, scene().release);
  });

  it("leaves an opted-out pod to the upstream alone", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/plain", tag: "1" });
    await scene().apply(
      pod("plain", "plain:1", { labels: { "cache-registry.enix.io/image-caching-policy": "ignore" } }),
    );
    const started = await scene().running("plain");
    expect(started.spec.containers[0]?.image).toBe("plain:1");
    expect(await scene().cachedImage("docker.io/library/plain:1")).toBeUndefined();
    await scene().deletePod("plain");
  });
}
