import { describe, expect, it } from "vitest";
import type { NodeRecord } from "./node-record.ts";
import { createProxyIndex, type ProxyIndex } from "./proxy-index.ts";

function node(name: string, ready = true): NodeRecord {
  return { name, ready, unschedulable: false, platform: "linux/amd64", tainted: false };
}
function put(index: ProxyIndex, pod: string, on: string, ready: boolean): void {
  index.apply({ type: "updated", key: `system/${pod}`, object: { proxy: { node: on, ready } } });
}

describe("createProxyIndex", () => {
  it("counts the ready nodes that have a proxy, and those whose proxy is not ready", () => {
    const index = createProxyIndex();
    put(index, "a", "n1", true);
    put(index, "b", "n2", false);
    put(index, "c", "n3", false);
    const nodes = [node("n1"), node("n2"), node("n3", false), node("n4")];
    expect(index.assess(nodes, 3)).toEqual({ targeted: 2, unready: ["n2"], missing: 0 });
    expect(index.assess(nodes, 5)).toEqual({ targeted: 4, unready: ["n2"], missing: 2 });
    expect(createProxyIndex().assess(nodes, 0)).toEqual({ targeted: 0, unready: [], missing: 0 });
  });

  it("is content with one of two on a node, in whatever order they come and go", () => {
    const index = createProxyIndex();
    put(index, "old", "n1", true);
    put(index, "new", "n1", false);
    expect(index.assess([node("n1")], 1).unready).toEqual([]);
    put(index, "new", "n1", true);
    index.apply({ type: "deleted", key: "system/old", object: { proxy: { node: "n1", ready: true } } });
    expect(index.readyOn("n1")).toBe(true);
    put(index, "new", "n1", false);
    expect(index.readyOn("n1")).toBe(false);
  });

  it("tells when a proxy becomes ready, not when it stays so; other pods are none", () => {
    const index = createProxyIndex();
    const heard: string[] = [];
    index.onReady((name) => heard.push(name));
    put(index, "a", "n1", false);
    put(index, "a", "n1", true);
    put(index, "a", "n1", true);
    index.apply({ type: "added", key: "shop/web", object: {} });
    put(index, "b", "n2", true);
    expect(heard).toEqual(["n1", "n2"]);
  });
});
