import { describe, expect, it } from "vitest";
import type { KubeObject } from "./object.ts";
import { createObjectStore } from "./object-store.ts";

type Item = KubeObject & { value?: string };

function item(name: string, resourceVersion: string, options: { uid?: string; value?: string } = {}): Item {
  return {
    metadata: { namespace: "ns", name, resourceVersion, uid: options.uid ?? `uid-${name}` },
    value: options.value,
  };
}

function createStore() {
  return createObjectStore((object: Item) => object.value ?? object.metadata.resourceVersion);
}

describe("createObjectStore", () => {
  it("tells added, updated and deleted apart, and keeps only the transformed object", () => {
    const store = createStore();
    expect(store.put(item("a", "1"))).toEqual([{ type: "added", key: "ns/a", object: "1" }]);
    expect(store.put(item("a", "2"))).toEqual([{ type: "updated", key: "ns/a", object: "2" }]);
    expect(store.get("ns/a")).toBe("2");
    expect(store.remove(item("a", "3"))).toEqual([{ type: "deleted", key: "ns/a", object: "2" }]);
    expect(store.size).toBe(0);
  });

  it("ignores what it has seen and what is older, by number and not by text", () => {
    const store = createStore();
    store.put(item("a", "10"));
    expect(store.put(item("a", "10"))).toEqual([]);
    expect(store.put(item("a", "9"))).toEqual([]);
    expect(store.remove(item("a", "9"))).toEqual([]);
    expect(store.get("ns/a")).toBe("10");
  });

  it("sees an object that was deleted and made again as both", () => {
    const store = createStore();
    store.put(item("a", "1"));
    const changes = store.put(item("a", "5", { uid: "other" }));
    expect(changes.map(({ type, object }) => [type, object])).toEqual([
      ["deleted", "1"],
      ["added", "5"],
    ]);
  });

  it("replaces everything by a list, at once, and reports the difference", () => {
    const store = createStore();
    for (const name of ["gone", "same", "changed"]) store.put(item(name, "1"));
    const list = store.replace();
    list.put(item("same", "1"));
    list.put(item("changed", "2"));
    list.put(item("new", "2"));
    expect(store.get("ns/changed")).toBe("1");
    const changes = list.finish().map(({ type, key }) => `${type} ${key}`);
    expect(changes.sort()).toEqual(["added ns/new", "deleted ns/gone", "updated ns/changed"]);
    expect([...store.keys()].sort()).toEqual(["ns/changed", "ns/new", "ns/same"]);
  });

  it("keeps an own write that is newer than the list that was under way", () => {
    const store = createStore();
    store.put(item("a", "1"));
    const list = store.replace();
    list.put(item("a", "1"));
    store.put(item("a", "7"));
    store.put(item("b", "8"));
    list.finish();
    expect([store.get("ns/a"), store.get("ns/b")]).toEqual(["7", "8"]);
  });

  it("does not bring back what was deleted when the answer to an own write comes late", () => {
    const store = createStore();
    store.put(item("a", "1"));
    store.remove(item("a", "6"));
    expect(store.put(item("a", "5"))).toEqual([]);
    expect(store.remove(item("never-seen", "7"))).toEqual([]);
    expect(store.put(item("never-seen", "6"))).toEqual([]);
    expect(store.size).toBe(0);
    expect(store.put(item("a", "8", { uid: "made again" }))).toHaveLength(1);
  });

  it("follows an object again that a list brings back", () => {
    const store = createStore();
    store.put(item("a", "100"));
    store.remove(item("a", "101"));
    const list = store.replace();
    list.put(item("a", "5"));
    list.finish();
    store.put(item("a", "6"));
    expect(store.get("ns/a")).toBe("6");
  });

  it("believes a list even when its versions are lower: etcd was restored", () => {
    const store = createStore();
    store.put(item("a", "1000"));
    const list = store.replace();
    list.put(item("a", "5", { value: "restored" }));
    list.finish();
    expect(store.get("ns/a")).toBe("restored");
  });
});
