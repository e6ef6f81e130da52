import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeHostsToml } from "../../../hack/cluster/hosts-toml.ts";
import { pod } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

/** The forms of docs/mirror-mode.md that need less of the node. Each installs what it needs. */
export function withoutHostNetwork(scene: () => Scene): void {
  it("the registry as a NodePort and a hosts.toml of three lines: pulls go through the cache", async () => {
    const { stage } = scene();
    const { certsDir, bridgeAddress } = stage.cluster;
    const service = { type: "NodePort" };
    await scene().install({ values: { mode: "mirror", proxy: { enabled: false }, registry: { service } } });
    await rm(join(certsDir, "docker.io"), { recursive: true });
    try {
      for (const [name, host] of [
        ["on-localhost", "localhost"],
        ["on-address", bridgeAddress],
      ] as const) {
        await writeHostsToml({ certsDir, registry: "_default", endpoints: [`http://${host}:31080`] });
        await stage.publish({ repository: `library/${name}`, tag: "1" });
        stage.upstream.reset();
        await scene().apply(pod(name, `${name}:1`));
        expect((await scene().running(name)).spec.containers[0]?.image).toBe(`${name}:1`);
        expect(Object.values(scene().upstreamGets(`library/${name}`, "blobs"))).toEqual([1, 1]);
        const tags = await fetch(`http://${host}:31080/v2/docker.io/library/${name}/tags/list`);
        expect(await tags.json(), name).toMatchObject({ tags: ["1"] });
        await scene().deletePod(name);
      }
    } finally {
      await rm(join(certsDir, "_default"), { recursive: true, force: true });
      const { upstreamUrl } = stage;
      await writeHostsToml({ certsDir, registry: "docker.io", endpoints: [upstreamUrl], server: upstreamUrl });
    }
  });

  it("the proxy with a host port: rewritten pods start through it", async () => {
    const { stage } = scene();
    await scene().install({ values: { proxy: { hostNetwork: false } } });
    await stage.publish({ repository: "library/host-port", tag: "1" });
    await scene().apply(pod("host-port", "host-port:1"));
    const started = await scene().running("host-port");
    expect(started.spec.containers[0]?.image).toBe("localhost:7439/docker.io/library/host-port:1");
    await scene().deletePod("host-port");
  });
}
