import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import { onNode, type Scene } from "../scene.ts";

const CACHED = "localhost:7439/docker.io/library";

/** What an upstream does besides being off. Tags are asked for again after a second here. */
export function upstreamTrouble(scene: () => Scene): void {
  /** Starts it on the first node and forgets it there, so that the next pod pulls again. */
  async function pulledOnce(name: string): Promise<string> {
    const { stage } = scene();
    const [node] = stage.cluster.nodes;
    const digest = await stage.publish({ repository: `library/${name}`, tag: "1", layerBytes: 1 << 20 });
    await scene().apply(pod(name, `${name}:1`, { spec: onNode(node?.name ?? "") }));
    await scene().running(name);
    await scene().ready(`docker.io/library/${name}:1`);
    return digest;
  }
  async function startsAgain(name: string): Promise<void> {
    const [, other] = scene().stage.cluster.nodes;
    await scene().apply(pod(`${name}-again`, `${name}:1`, { spec: onNode(other?.name ?? "") }));
    const started = await scene().running(`${name}-again`);
    expect(started.spec.containers[0]?.image).toBe(`${CACHED}/${name}:1`);
  }

  it("throttling: what is held is served, what is not starts when the upstream answers again", async () => {
    const { stage } = scene();
    await pulledOnce("held");
    await stage.publish({ repository: "library/unheld", tag: "1" });
    // The tag's time is over: the upstream is asked, and refuses.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    stage.upstream.refuse({ status: 429, headers: { "retry-after": "2" } });
    stage.upstream.reset();
    try {
      await scene().apply(pod("unheld", "unheld:1"));
      await startsAgain("held");
      expect(scene().upstreamGets("library/held", "blobs")).toEqual({});
      await waitUntil("the cold image to be refused", async () =>
        Object.keys(stage.upstream.counts()).some((request) => request.includes("/library/unheld/manifests/"))
          ? true
          : undefined,
      );
      expect((await scene().pod("unheld")).status.phase).toBe("Pending");
    } finally {
      stage.upstream.refuse(undefined);
    }
    await scene().running("unheld");
    for (const name of ["held", "held-again", "unheld"]) await scene().deletePod(name);
  });

  it("slow: a pull at a few KB/s goes on and is not begun anew", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/slow", tag: "1", layerBytes: 1 << 20 });
    stage.upstream.reset();
    stage.upstream.throttle(6_000);
    try {
      await scene().apply(pod("slow", "slow:1"));
      const fetched = () =>
        Object.entries(stage.upstream.counts())
          .filter(([request]) => request.startsWith("GET /v2/library/slow/blobs/"))
          .reduce((sum, [, { bytes }]) => sum + bytes, 0);
      // More than the 5 s after which an impatient client would have given up on it.
      for (const bytes of [20_000, 60_000]) {
        await waitUntil(`${bytes} bytes`, async () => (fetched() >= bytes ? true : undefined), { timeoutMs: 40_000 });
      }
      expect((await scene().pod("slow")).status.phase).toBe("Pending");
    } finally {
      stage.upstream.throttle(undefined);
    }
    await scene().running("slow");
    await scene().ready("docker.io/library/slow:1");
    expect(Object.values(scene().upstreamGets("library/slow", "blobs"))).toEqual([1, 1, 1]);
    await scene().deletePod("slow");
  });

  it("tag deleted: the held tag is still served, and told to be stale", async () => {
    const { stage } = scene();
    const digest = await pulledOnce("vanished");
    await stage.unpublish("library/vanished", digest);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await startsAgain("vanished");
    // The controllers look at an image that is there every five minutes; then the CachedImage says so too.
    const { body } = await scene().release.management(`/images/${encodeURIComponent("docker.io/library/vanished:1")}`);
    expect(body).toMatchObject({ state: "stale", digest });
    for (const name of ["vanished", "vanished-again"]) await scene().deletePod(name);
  });
}
