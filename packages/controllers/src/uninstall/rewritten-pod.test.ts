import type { Pod } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { wayOut } from "./rewritten-pod.ts";

const names = { endpoint: "localhost:7439", registries: new Set(["harbor:5000"]) };
const CACHED = "localhost:7439/docker.io/library/nginx:1.27";

function pod(spec: Pod["spec"], more: Partial<Pod["metadata"]> = {}, phase = "Running"): Pod {
  return { metadata: { name: "web", namespace: "default", ...more }, spec: { ...spec }, status: { phase } };
}
const owned = (kind: string) => ({
  ownerReferences: [{ apiVersion: "apps/v1", kind, name: "owner", uid: "u", controller: true }],
});
const cached = { containers: [{ name: "main", image: CACHED }] };

describe("the way out of the cache", () => {
  it.each<[string, Pod]>([
    ["a pod that was never rewritten", pod({ containers: [{ name: "main", image: "nginx" }] })],
    ["a pod that ended", pod(cached, {}, "Succeeded")],
    ["a static pod's copy", pod(cached, { annotations: { "kubernetes.io/config.mirror": "x" } })],
    [
      "ephemeral containers alone",
      pod({ containers: [{ name: "main", image: "nginx" }], ephemeralContainers: [{ name: "debug", image: CACHED }] }),
    ],
    [
      "a forged label",
      pod({ containers: [{ name: "m", image: "nginx" }] }, { labels: { "cache-registry.enix.io/managed": "true" } }),
    ],
  ])("is not needed for %s", (_what, subject) => {
    expect(wayOut(subject, names)).toBeUndefined();
  });

  it.each(["ReplicaSet", "StatefulSet", "DaemonSet", "Cluster"])("of a pod of a %s is eviction", (kind) => {
    expect(wayOut(pod(cached, owned(kind)), names)).toEqual({ action: "evict" });
  });

  it.each<[string, Pod["spec"]]>([
    ["containers", { containers: [{ name: "main", image: "localhost:7439/team/app:1" }] }],
    ["containers beside others", { containers: [...cached.containers, { name: "b", image: "localhost:7439/app" }] }],
    ["image volumes", { ...cached, volumes: [{ name: "data", image: { reference: "localhost:7439/team/data:1" } }] }],
    [
      "an upstream that the command does not know",
      { containers: [{ name: "m", image: "localhost:7439/nexus_8082/a" }] },
    ],
  ])("of a pod whose controller names an image of the cache alone is not eviction: %s", (_what, spec) => {
    expect(wayOut(pod(spec, owned("ReplicaSet")), names)).toMatchObject({
      action: "stay",
      why: expect.stringContaining("change the template of ReplicaSet owner"),
    });
  });

  it("of a Job's pod is its end", () => {
    expect(wayOut(pod(cached, owned("Job")), names)).toEqual({ action: "finish" });
  });

  it("of a bare pod is its original image, in place, with digest and port", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const way = wayOut(
      pod({
        initContainers: [{ name: "init", image: `localhost:7439/harbor_5000/team/app:1@${digest}` }],
        containers: [
          { name: "other", image: "redis" },
          { name: "main", image: CACHED },
        ],
      }),
      names,
    );
    expect(way).toMatchObject({
      action: "patch",
      containers: [
        { list: "initContainers", index: 0, original: `harbor:5000/team/app:1@${digest}` },
        { list: "containers", index: 1, cached: CACHED, original: "docker.io/library/nginx:1.27" },
      ],
    });
  });

  describe("of a bare pod that runs to its end", () => {
    const once = { initContainers: [{ name: "init", image: CACHED }], ...cached };
    const started = { running: { startedAt: "2026-01-01T00:00:00Z" } };
    const status = (init: object, main: object): Pod["status"] => ({
      phase: "Running",
      initContainerStatuses: [{ name: "init", state: init }],
      containerStatuses: [{ name: "main", state: main }],
    });
    const with_ = (spec: Pod["spec"], given: Pod["status"]): Pod => ({ ...pod(spec), ...(given && { status: given }) });

    it("is none once everything was started: a change would make the kubelet run it a second time", () => {
      const volumes = [{ name: "data", image: { reference: CACHED } }];
      const spec = { restartPolicy: "Never", ...once, volumes };
      expect(wayOut(with_(spec, status({ terminated: {} }, started)), names)).toBeUndefined();
    });

    it("is the original image of what was not started yet, and of sidecars, which are started again", () => {
      const sidecar = { name: "init", image: CACHED, restartPolicy: "Always" };
      const waiting = status({ terminated: {} }, { waiting: { reason: "ImagePullBackOff" } });
      expect(wayOut(with_({ restartPolicy: "Never", ...once }, waiting), names)).toMatchObject({
        action: "patch",
        containers: [{ list: "containers", index: 0 }],
      });
      const spec = { restartPolicy: "Never", ...once, initContainers: [sidecar] };
      expect(wayOut(with_(spec, status(started, started)), names)).toMatchObject({
        action: "patch",
        containers: [{ list: "initContainers", index: 0 }],
      });
      const none = wayOut(pod({ restartPolicy: "Never", ...once }, {}, "Pending"), names);
      expect(none).toMatchObject({ action: "patch", containers: [{}, {}] });
    });

    it("is its end when it is tried again after a failure", () => {
      const spec = { restartPolicy: "OnFailure", ...once };
      expect(wayOut(with_(spec, status({ terminated: {} }, started)), names)).toEqual({ action: "finish" });
      const waiting = status({ terminated: {} }, { waiting: { reason: "ErrImagePull" } });
      expect(wayOut(with_(spec, waiting), names)).toMatchObject({ action: "patch" });
    });
  });

  it("is closed for a bare pod with an image volume, or with an image that only the cache has", () => {
    const volume = pod({ ...cached, volumes: [{ name: "data", image: { reference: CACHED } }] });
    expect(wayOut(volume, names)).toMatchObject({ action: "stay", why: expect.stringContaining("image volume data") });
    const local = pod({ containers: [{ name: "main", image: "localhost:7439/team/app:1" }] });
    expect(wayOut(local, names)).toMatchObject({ action: "stay", why: expect.stringContaining("team/app:1") });
  });
});
