import { expect, it } from "vitest";
import { deployment, pod, podOf, waitUntil } from "../../../hack/stage/objects.ts";
import { ensureTools } from "../../../hack/tools/ensure.ts";
import { proxyMetric } from "../proxy-metrics.ts";
import { onNode, type Scene } from "../scene.ts";

export function secondNode(scene: () => Scene): void {
  const nodes = () => scene().stage.cluster.nodes;

  it("fetches each blob from the upstream once for two cold nodes that pull at the same time", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/pair", tag: "1", layerBytes: 6 << 20 });
    stage.upstream.reset();
    // So slow that the second node asks while the first is being served.
    stage.upstream.throttle(3 << 20);
    for (const { name } of nodes()) await scene().apply(pod(`pair-${name}`, "pair:1", { spec: onNode(name) }));
    for (const { name } of nodes()) await scene().running(`pair-${name}`);
    stage.upstream.throttle(undefined);
    await scene().ready("docker.io/library/pair:1");
    expect(Object.values(scene().upstreamGets("library/pair", "blobs"))).toEqual([1, 1, 1]);
    for (const { name } of nodes()) await scene().deletePod(`pair-${name}`);
  });

  it("has a proxy of its own on each node's localhost", async () => {
    const { probe = "probe" } = await ensureTools(["probe"], { log: () => undefined });
    for (const node of nodes()) {
      const get = (url: string) => node.run(probe, ["get", url]);
      const served = () => proxyMetric(node, "http_requests_total", { server: "proxy" });
      const before = await served();
      expect(JSON.parse(await get("http://localhost:7439/v2/docker.io/library/pair/manifests/1"))).toMatchObject({
        schemaVersion: 2,
      });
      // Nobody else pulls: it was this proxy that answered.
      expect(await served(), node.name).toBe(before + 1);
    }
  });

  it("starts a pod that moves to the other node from the cache, with the upstream off", async () => {
    const { stage } = scene();
    const { kubectl } = stage.cluster;
    const [first, second] = nodes().map(({ name }) => name);
    await stage.publish({ repository: "library/moving", tag: "1", layerBytes: 1 << 20 });
    await kubectl(["cordon", second ?? ""]);
    await scene().apply(deployment("moving", "moving:1"));
    await kubectl(["rollout", "status", "deployment/moving", "--timeout=90s"]);
    expect((await podOf(stage.cluster, "app=moving")).spec.nodeName).toBe(first);
    await scene().ready("docker.io/library/moving:1");
    await kubectl(["uncordon", second ?? ""]);
    await kubectl(["cordon", first ?? ""]);
    await stage.upstream.off();
    try {
      await kubectl(["delete", "pod", "-l", "app=moving", "--wait=true"]);
      await waitUntil("the Deployment to be available on the other node", async () => {
        const moved = await podOf(stage.cluster, "app=moving").catch(() => undefined);
        return moved?.status.phase === "Running" && moved.spec.nodeName === second ? true : undefined;
      });
    } finally {
      await stage.upstream.on();
      await kubectl(["uncordon", first ?? ""]);
    }
    await kubectl(["delete", "deployment", "moving", "--wait=true"]);
  });
}
