import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import { proxyMetric } from "../proxy-metrics.ts";
import { onNode, type Scene } from "../scene.ts";

const CACHED = "localhost:7439/docker.io/library";

/** Parts that end at the wrong moment. */
export function restarts(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  const ours = (...args: string[]) => kubectl("-n", scene().release.namespace, ...args);
  /** Without a goodbye, and not as the same pod again: what a node that loses its power leaves. */
  async function kill(name: string): Promise<void> {
    const { nodes, tools } = scene().stage.cluster;
    const { spec, status } = await scene().pod(name, scene().release.namespace);
    const node = nodes.find((candidate) => candidate.name === spec.nodeName);
    const container = status.containerStatuses?.[0]?.containerID?.replace("containerd://", "");
    if (!node || !container) throw new Error(`${name} does not run`);
    const tasks = ["--address", node.containerdSocket, "--namespace", "k8s.io", "tasks"];
    await node.run(tools.ctr ?? "ctr", [...tasks, "kill", "--signal", "SIGKILL", container]);
    await ours("delete", "pod", name, "--grace-period=0", "--force");
  }
  const rolledOut = (component: string) =>
    ours("rollout", "status", "deployment", "-l", `app.kubernetes.io/component=${component}`, "--timeout=90s");
  const podsOf = async (component: string) =>
    (
      await ours(
        "get",
        "pods",
        "-l",
        `app.kubernetes.io/component=${component}`,
        "-o",
        "jsonpath={.items[*].metadata.name}",
      )
    )
      .split(" ")
      .filter(Boolean);

  it("the registry, during pulls on both nodes: the pods start all the same", async () => {
    const { stage } = scene();
    const { nodes } = stage.cluster;
    for (const { name } of nodes)
      await stage.publish({ repository: `library/broken-${name}`, tag: "1", layerBytes: 8 << 20 });
    stage.upstream.reset();
    stage.upstream.throttle(2 << 20);
    for (const { name } of nodes)
      await scene().apply(pod(`broken-${name}`, `broken-${name}:1`, { spec: onNode(name) }));
    const blobBytes = (name: string) =>
      Object.entries(stage.upstream.counts())
        .filter(([request]) => request.startsWith(`GET /v2/library/broken-${name}/blobs/`))
        .reduce((sum, [, { bytes }]) => sum + bytes, 0);
    await waitUntil("both pulls to be on their way", async () =>
      nodes.every(({ name }) => blobBytes(name) > 500_000) ? true : undefined,
    );
    for (const name of await podsOf("registry")) await kill(name);
    stage.upstream.throttle(undefined);
    for (const { name } of nodes) await scene().running(`broken-${name}`);
    const continued = await Promise.all(nodes.map((node) => proxyMetric(node, "proxy_continued_bodies_total")));
    expect(
      continued.reduce((sum, count) => sum + count),
      "bodies that went on from the upstream",
    ).toBeGreaterThan(0);
    await rolledOut("registry");
    for (const { name } of nodes) await scene().deletePod(`broken-${name}`);
  });

  it("the API server: nothing of ours restarts, pods are rewritten and recorded again", async () => {
    const { stage } = scene();
    const states = () => ours("get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}");
    const before = await states();
    await stage.publish({ repository: "library/after", tag: "1" });
    await stage.cluster.restart("kube-apiserver");
    await scene().apply(pod("after", "after:1", { spec: { automountServiceAccountToken: false } }));
    expect((await scene().running("after")).spec.containers[0]?.image).toBe(`${CACHED}/after:1`);
    await scene().ready("docker.io/library/after:1");
    expect(await states()).toBe(before);
    await scene().deletePod("after");
  });

  it("the leading controllers: the others take over, nothing is lost and nothing done twice", async () => {
    const { stage } = scene();
    const leader = async () => {
      // Pod, a hyphen, process.
      const holder = await ours("get", "leases", "-o", "jsonpath={.items[0].spec.holderIdentity}");
      return (await podsOf("controllers")).find((name) => holder.startsWith(`${name}-`));
    };
    const [known, during] = ["docker.io/library/known:1", "docker.io/library/during:1"];
    for (const name of ["known", "during"])
      await stage.publish({ repository: `library/${name}`, tag: "1", layerBytes: 2 << 20 });
    await scene().apply(pod("known", "known:1"));
    await scene().running("known");
    await scene().ready(known);
    const { uid } = (await scene().cachedImage(known))?.metadata ?? {};
    stage.upstream.reset();
    stage.upstream.throttle(1 << 20);
    await scene().apply(pod("during", "during:1"));
    await waitUntil("the warm-up to be asked for", async () =>
      (await scene().cachedImage(during)) ? true : undefined,
    );
    const uidDuring = (await scene().cachedImage(during))?.metadata.uid;
    const killed = (await leader()) ?? "";
    expect(killed).not.toBe("");
    await kill(killed);
    stage.upstream.throttle(undefined);
    await waitUntil("another leader", async () => {
      const now = await leader();
      return now !== undefined && now !== killed ? true : undefined;
    });
    // Created while the new leader has only begun.
    await scene().apply(pod("during-too", "during:1"));
    await scene().running("during");
    await scene().ready(during);
    await waitUntil("both pods to be counted", async () =>
      (await scene().cachedImage(during))?.status?.usedBy?.count === 2 ? true : undefined,
    );
    expect((await scene().cachedImage(during))?.metadata.uid).toBe(uidDuring);
    expect((await scene().cachedImage(known))?.metadata.uid).toBe(uid);
    expect((await scene().cachedImage(known))?.status?.phase).toBe("Ready");
    expect(Object.values(scene().upstreamGets("library/during", "blobs"))).toEqual([1, 1, 1]);
    expect(scene().upstreamGets("library/known", "blobs")).toEqual({});
    for (const name of ["known", "during", "during-too"]) await scene().deletePod(name);
    await rolledOut("controllers");
  });
}
