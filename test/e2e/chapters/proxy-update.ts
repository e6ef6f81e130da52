import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { startPullLoops } from "../../support/pull-loop.ts";
import { log, type Scene } from "../scene.ts";

/** A busy node: some forty new connections a second. */
const PAUSE_MS = 50;
const PATH = "/v2/docker.io/library/updated/manifests/1";

export function proxyUpdate(scene: () => Scene): void {
  it("leaves no moment without a proxy on the node: no pull meanwhile fails", async () => {
    const { stage, release } = scene();
    const { kubectl } = stage.cluster;
    await stage.publish({ repository: "library/updated", tag: "1" });
    const name = ["-n", release.namespace, "get", "daemonset", "-l", "app.kubernetes.io/component=proxy", "-o", "name"];
    const daemonSet = (await kubectl(name)).trim();
    const hosts = ["127.0.0.1", "::1"];
    const pulling = startPullLoops({ hosts, port: 7439, path: PATH, pause: PAUSE_MS, timeout: 20_000 });
    await kubectl(["-n", release.namespace, "rollout", "restart", daemonSet]);
    await kubectl(["-n", release.namespace, "rollout", "status", daemonSet, "--timeout=120s"]);
    // The one before may still be about to go.
    await sleep(2_000);
    const { count, failures } = await pulling.end();
    log(`${count} pulls during an update of the proxy, ${failures.length} failed`);
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });
}
