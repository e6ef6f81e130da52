import { describe, expect, it } from "vitest";
import { podRecord } from "./pod-record.ts";

const names = { endpoint: "localhost:7439", registries: new Set<string>() };
const sharedNamespaces = new Set(["shop"]);
const options = {
  mode: "rewrite",
  names,
  sharedNamespaces,
  shortLife: 60_000,
  intern: (text: string) => text,
} as const;
const image = "localhost:7439/docker.io/library/nginx:1";

function pod(changes: { labels?: Record<string, string>; annotations?: Record<string, string>; phase?: string }) {
  const { phase, ...meta } = changes;
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1", uid: "u", controller: true };
  return {
    metadata: { name: "web", namespace: "default", ownerReferences: [owner], ...meta },
    spec: { containers: [{ name: "main", image }], nodeName: "node-1" },
    status: { phase, podIP: "10.0.0.1" },
  };
}

const managed = { "cache-registry.enix.io/managed": "true" };

describe("podRecord", () => {
  it("keeps where the pod is, who made it, and images; nothing else", () => {
    expect(podRecord(pod({ labels: managed }), options)).toEqual({
      namespace: "default",
      name: "web",
      owner: "ReplicaSet/web-1",
      images: ["docker.io/library/nginx:1"],
      recorded: ["docker.io/library/nginx:1"],
      refused: [],
      pullSecrets: [],
    });
  });

  it("records nothing without the label, but counts the use; annotations prove nothing", () => {
    const annotations = { "cache-registry.enix.io/original-images": '{"main":"evil.io/x:1"}' };
    const record = podRecord(pod({ annotations }), options);
    expect(record.recorded).toEqual([]);
    expect(record.images).toEqual(["docker.io/library/nginx:1"]);
  });

  it("keeps the names of pull secrets only where they may be read, of pods that the cache serves", () => {
    const inNamespace = (namespace: string, labels = managed as Record<string, string>) => {
      const { spec, metadata, ...rest } = pod({ labels });
      const imagePullSecrets = [{ name: "pull" }, {}, { name: "" }];
      return podRecord({ ...rest, metadata: { ...metadata, namespace }, spec: { ...spec, imagePullSecrets } }, options);
    };
    expect(inNamespace("shop").pullSecrets).toEqual(["pull"]);
    expect(inNamespace("default").pullSecrets).toEqual([]);
    expect(inNamespace("shop", {}).pullSecrets).toEqual([]);
  });

  it.each(["Succeeded", "Failed"])("uses nothing once it has %s", (phase) => {
    expect(podRecord(pod({ labels: managed, phase }), options)).toMatchObject({ images: [], recorded: [] });
  });

  it.each(["Pending", "Running", "Unknown"])("uses its images while it is %s", (phase) => {
    expect(podRecord(pod({ phase }), options).images).toHaveLength(1);
  });
});
