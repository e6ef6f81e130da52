import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { log, type Scene } from "../scene.ts";

/** A busy node: some forty new connections a second. */
const PAUSE_MS = 50;
const PATH = "/v2/docker.io/library/updated/manifests/1";

/** On a connection of its own. */
function pull(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    http
      .get({ host, port: 7439, path: PATH, agent: false, timeout: 20_000 }, (response) => {
        response.resume().once("end", () => resolve(response.statusCode ?? 0));
      })
      .once("error", reject);
  });
}

export function proxyUpdate(scene: () => Scene): void {
  it("leaves no moment without a proxy on the node: no pull meanwhile fails", async () => {
    const { stage, release } = scene();
    const { kubectl } = stage.cluster;
    await stage.publish({ repository: "library/updated", tag: "1" });
    const name = ["-n", release.namespace, "get", "daemonset", "-l", "app.kubernetes.io/component=proxy", "-o", "name"];
    const daemonSet = (await kubectl(name)).trim();
    const failures: string[] = [];
    let pulls = 0;
    let over = false;
    const loop = async (host: string): Promise<void> => {
      while (!over) {
        pulls += 1;
        const status = await pull(host).catch(String);
        if (status !== 200) failures.push(`${host}: ${status}`);
        await sleep(PAUSE_MS);
      }
    };
    const loops = ["127.0.0.1", "::1"].map(loop);
    await kubectl(["-n", release.namespace, "rollout", "restart", daemonSet]);
    await kubectl(["-n", release.namespace, "rollout", "status", daemonSet, "--timeout=120s"]);
    // The one before may still be about to go.
    await sleep(2_000);
    over = true;
    await Promise.all(loops);
    log(`${pulls} pulls during an update of the proxy, ${failures.length} failed`);
    expect(failures).toEqual([]);
    expect(pulls).toBeGreaterThan(100);
  });
}
