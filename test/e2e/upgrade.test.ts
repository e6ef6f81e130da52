/** `helm upgrade` from an earlier version, chart and image, to the present one, with pods that go on using the cache. */
import { chown, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { earlierVersion } from "../../hack/stage/earlier-version.ts";
import { deployment, pod, waitUntil } from "../../hack/stage/objects.ts";
import { IMAGE } from "../../hack/stage/stage.ts";
import { useScene } from "./scene.ts";

/**
 * The last commit before the chart was complete: what was installed from it can be upgraded. Moves with releases. A clone
 * whose history does not reach it upgrades from the newest commit that it has.
 */
const EARLIER = ["ccff061ed0862c2937de3df4f8cedb98842dc45a", "HEAD~1", "HEAD"];
const NAMESPACE = "cache-registry-system";
const CLAIM = "cached";
const VALUES = {
  cachedImagesExpiryDelay: "1h",
  registry: { persistence: { enabled: true, existingClaim: CLAIM } },
};
const LASTING = "docker.io/library/lasting:1";

const scene = useScene({ install: false });

describe("upgrade", () => {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);

  /** A cache that outlives the registry's pod, on the node's disk. */
  async function claimVolume(): Promise<void> {
    const path = join(dirname(scene().stage.cluster.logs), "volume");
    await mkdir(path);
    await chown(path, 65532, 65532);
    await kubectl("create", "namespace", NAMESPACE);
    const size = { storage: "1Gi" };
    const access = { accessModes: ["ReadWriteOnce"], storageClassName: "" };
    const volume = { ...access, capacity: size, hostPath: { path }, persistentVolumeReclaimPolicy: "Retain" };
    await scene().apply({ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: CLAIM }, spec: volume });
    const claim = { ...access, resources: { requests: size }, volumeName: CLAIM };
    const metadata = { name: CLAIM };
    await scene().apply({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata, spec: claim }, NAMESPACE);
  }
  const pods = () =>
    kubectl(
      ...["get", "pods", "-l", "app=lasting", "--sort-by=.metadata.name", "-o"],
      'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.phase}{" "}{end}',
    );

  it("keeps pods running, CachedImages what they are, and the cache warm", async () => {
    const { stage } = scene();
    const earlier = await earlierVersion(EARLIER, `${IMAGE.registry}/${IMAGE.repository}:earlier`);
    await stage.cluster.loadImage(earlier.archive);
    await claimVolume();
    const image = { ...IMAGE, tag: "earlier", pullPolicy: "Never" };
    await scene().install({ chart: earlier.chart, values: { ...VALUES, image } });
    await stage.publish({ repository: "library/lasting", tag: "1", layerBytes: 4 << 20 });
    await stage.publish({ repository: "library/meanwhile", tag: "1", layerBytes: 1 << 20 });
    await scene().apply(deployment("lasting", "lasting:1"));
    await kubectl("rollout", "status", "deployment/lasting", "--timeout=90s");
    const { uid } = (await scene().ready(LASTING)).metadata;
    const before = await pods();
    expect(before).toContain("Running");

    // Nobody upgrades seconds after installing.
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    stage.upstream.reset();
    const upgrading = scene().install({ values: VALUES });
    // Pods that are created while everything is being replaced.
    const created: string[] = [];
    let upgraded = false;
    const creating = (async () => {
      while (!upgraded) {
        const name = `meanwhile-${created.length}`;
        await scene().apply(pod(name, "meanwhile:1"));
        created.push(name);
        await new Promise((resolve) => setTimeout(resolve, 2_000));
      }
    })();
    await upgrading.finally(() => {
      upgraded = true;
    });
    await creating;
    expect(await pods()).toBe(before);
    for (const name of created) await scene().running(name);
    const failures = await kubectl(
      "get",
      "events",
      "--field-selector=reason=Failed",
      "-o",
      "jsonpath={.items[*].message}",
    );
    expect(failures).toBe("");
    // helm does not wait for the end of those that were replaced.
    await waitUntil("only pods of the present version", async () => {
      const path = "jsonpath={.items[*].spec.containers[*].image}";
      const images = (await kubectl("-n", NAMESPACE, "get", "pods", "-o", path)).split(" ");
      return images.every((name) => name === `${IMAGE.registry}/${IMAGE.repository}:${IMAGE.tag}`) ? true : undefined;
    });

    await scene().ready("docker.io/library/meanwhile:1");
    expect((await scene().ready(LASTING)).metadata.uid).toBe(uid);
    await stage.upstream.off();
    try {
      await kubectl("scale", "deployment/lasting", "--replicas=0");
      await waitUntil("its pod to go", async () => ((await pods()) === "" ? true : undefined));
      await stage.cluster.removeImage(`localhost:7439/${LASTING}`);
      await kubectl("scale", "deployment/lasting", "--replicas=1");
      await kubectl("rollout", "status", "deployment/lasting", "--timeout=90s");
    } finally {
      await stage.upstream.on();
    }
    expect(scene().upstreamGets("library/lasting", "blobs")).toEqual({});
    expect((await scene().ready(LASTING)).metadata.uid).toBe(uid);
  });
});
