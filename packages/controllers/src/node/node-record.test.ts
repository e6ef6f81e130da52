import type { Node } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { nodeRecord } from "./node-record.ts";

const TAINT = "cache-registry.enix.io/proxy-not-ready";

function node(parts: { labels?: Record<string, string>; spec?: Node["spec"]; ready?: string }): Node {
  const conditions = [
    { type: "MemoryPressure", status: "False" },
    ...(parts.ready === undefined ? [] : [{ type: "Ready", status: parts.ready }]),
  ];
  return { metadata: { name: "n1", labels: parts.labels ?? {} }, spec: parts.spec ?? {}, status: { conditions } };
}

const AMD64 = { "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" };

describe("nodeRecord", () => {
  it("keeps the little that is needed of a node", () => {
    expect(nodeRecord(node({ labels: AMD64, ready: "True" }), { taint: TAINT })).toEqual({
      name: "n1",
      ready: true,
      unschedulable: false,
      platform: "linux/amd64",
      tainted: false,
    });
  });

  it.each(["False", "Unknown", undefined])("is not ready with the condition %s", (ready) => {
    expect(nodeRecord(node(ready === undefined ? {} : { ready }), { taint: undefined }).ready).toBe(false);
  });

  it("has no platform before the kubelet has said both halves", () => {
    expect(nodeRecord(node({ labels: { "kubernetes.io/os": "linux" } }), { taint: TAINT }).platform).toBeUndefined();
    expect(nodeRecord({ metadata: { name: "bare" } }, { taint: TAINT }).platform).toBeUndefined();
  });

  it("sees cordons, and the one taint that it is asked for", () => {
    const taints = [
      { key: "dedicated", value: "gpu", effect: "NoSchedule" },
      { key: TAINT, effect: "NoSchedule" },
    ];
    const tainted = node({ spec: { unschedulable: true, taints } });
    expect(nodeRecord(tainted, { taint: TAINT })).toMatchObject({ unschedulable: true, tainted: true });
    expect(nodeRecord(tainted, { taint: "other" }).tainted).toBe(false);
    expect(nodeRecord(tainted, { taint: undefined }).tainted).toBe(false);
  });
});
