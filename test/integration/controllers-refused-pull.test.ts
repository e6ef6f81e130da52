/** Rewritten images whose pull the kubelet was refused; the tests write the pods' status as a kubelet would. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { EVENTS, PODS, type Resource } from "../../packages/kube/src/resource.ts";
import type { Pod } from "../../packages/kube/src/workloads.ts";
import { cachedPod, FAST } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";

const bench = useBench();

type Event = KubeObject & { reason: string; type: string; note: string; regarding: { name: string; uid: string } };

async function events(name: string): Promise<Event[]> {
  const { items } = await bench.client.list(EVENTS as Resource<Event>);
  return items.filter(({ regarding, reason }) => regarding.name === name && reason.startsWith("Original"));
}

async function refuse(
  name: string,
  container: string,
  list: "containerStatuses" | "initContainerStatuses",
  said: string,
) {
  const message = `failed to pull and unpack image: ${said}`;
  const status = {
    phase: "Pending",
    [list]: [
      {
        name: container,
        ready: false,
        restartCount: 0,
        image: "",
        imageID: "",
        state: { waiting: { reason: "ErrImagePull", message } },
      },
    ],
  };
  const body = { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default" }, status } as unknown as Pod;
  await bench.client.apply(PODS, body, { fieldManager: "kubelet", subresource: "status" });
}

async function imagesOf(name: string) {
  const { spec } = await bench.client.get(PODS, { namespace: "default", name });
  return { init: spec?.initContainers?.map(({ image }) => image), main: spec?.containers?.map(({ image }) => image) };
}

const CACHED = "localhost:7439/ghcr.io/acme/private:1";

describe("a rewritten pod whose pull is refused", () => {
  it("waits where its pull secrets are shared: their credentials have to reach the registry first", async () => {
    const patience = 1_500;
    bench.run({ sharedNamespaces: new Set(["default"]), timing: { ...FAST, sharePatience: patience } });
    const pod = cachedPod("shared", ["ghcr.io/acme/private:1"]);
    await bench.client.create(PODS, { ...pod, spec: { ...pod.spec, imagePullSecrets: [{ name: "pull" }] } });
    const refusedAt = Date.now();
    await refuse("shared", "c0", "containerStatuses", `${CACHED}: 401 Unauthorized`);
    await eventually(async () => expect((await imagesOf("shared")).main).toEqual(["ghcr.io/acme/private:1"]));
    expect(Date.now() - refusedAt).toBeGreaterThanOrEqual(patience);
  });

  it("gets the original image of that container back in place, once, with an Event; the others stay", async () => {
    const running = bench.run();
    const created = await bench.client.create(
      PODS,
      cachedPod("web", ["docker.io/library/redis:7", "ghcr.io/acme/private:1"]),
    );
    await refuse("web", "c1", "containerStatuses", `${CACHED}: 401 Unauthorized`);
    await eventually(async () =>
      expect((await imagesOf("web")).main).toEqual([
        "localhost:7439/docker.io/library/redis:7",
        "ghcr.io/acme/private:1",
      ]),
    );
    const [event, ...more] = await eventually(async () => {
      const found = await events("web");
      expect(found).not.toEqual([]);
      return found;
    });
    expect(more).toEqual([]);
    expect(event).toMatchObject({ reason: "OriginalImageRestored", type: "Warning" });
    expect(event?.regarding.uid).toBe(created.metadata.uid);
    expect(event?.note).toContain("ghcr.io/acme/private:1");
    expect(event?.note).toContain("401 Unauthorized");

    // Somebody puts the cached name back: that is not fought.
    const operations = [{ op: "replace", path: "/spec/containers/1/image", value: CACHED }] as const;
    await bench.client.patch(PODS, { namespace: "default", name: "web" }, { operations });
    await refuse("web", "c1", "containerStatuses", `${CACHED}: 403 Forbidden`);
    await sleep(1_000);
    expect((await imagesOf("web")).main?.[1]).toBe(CACHED);
    expect(await events("web")).toHaveLength(1);
    expect(metricOf(await running.metrics.text(), "cache_registry_refused_pulls_total", { outcome: "restored" })).toBe(
      1,
    );
  });

  it("gets that of an init container back, also when nobody led while it was refused", async () => {
    const pod = cachedPod("init", ["docker.io/library/redis:7"]);
    const initContainers = [{ name: "prepare", image: CACHED }];
    await bench.client.create(PODS, { ...pod, spec: { ...pod.spec, initContainers } });
    await refuse("init", "prepare", "initContainerStatuses", `${CACHED}: not found`);
    bench.run();
    await eventually(async () => expect((await imagesOf("init")).init).toEqual(["ghcr.io/acme/private:1"]));
    expect((await imagesOf("init")).main).toEqual(["localhost:7439/docker.io/library/redis:7"]);
  });

  it("keeps its images when the failure may pass, and when they were not rewritten by us", async () => {
    bench.run();
    await bench.client.create(PODS, cachedPod("busy", ["ghcr.io/acme/private:1"]));
    const unlabelled = cachedPod("by-hand", ["ghcr.io/acme/private:1"]);
    await bench.client.create(PODS, { ...unlabelled, metadata: { ...unlabelled.metadata, labels: {} } });
    await bench.client.create(PODS, cachedPod("refused", ["ghcr.io/acme/private:1"]));
    await refuse("busy", "c0", "containerStatuses", `${CACHED}: 429 Too Many Requests`);
    await refuse("by-hand", "c0", "containerStatuses", `${CACHED}: 401 Unauthorized`);
    // The last one tells that the controllers have seen the others.
    await refuse("refused", "c0", "containerStatuses", `${CACHED}: 401 Unauthorized`);
    await eventually(async () => expect((await imagesOf("refused")).main).toEqual(["ghcr.io/acme/private:1"]));
    expect((await imagesOf("busy")).main).toEqual([CACHED]);
    expect((await imagesOf("by-hand")).main).toEqual([CACHED]);
  });
});
