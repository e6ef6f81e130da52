import type { Change } from "@cache-registry/kube/object-store";
import { describe, expect, it } from "vitest";
import { createNodePlatforms } from "./node-platforms.ts";
import type { NodeRecord } from "./node-record.ts";

function setup() {
  const world = { now: 0, news: 0 };
  const listeners: ((change: Change<NodeRecord>) => void)[] = [];
  const platforms = createNodePlatforms({
    nodes: { onChange: (listener) => void listeners.push(listener) },
    onNew: () => {
      world.news += 1;
    },
    clock: () => world.now,
    linger: 1_000,
  });
  const tell = (type: Change<NodeRecord>["type"], key: string, platform?: string): void => {
    const object = { name: key, ready: true, unschedulable: false, platform, tainted: false };
    for (const listener of listeners) listener({ type, key, object });
  };
  return { world, platforms, tell };
}

describe("platforms of the nodes", () => {
  it("are unknown until a node says its own", () => {
    const { platforms, tell } = setup();
    tell("added", "a");
    expect(platforms.current()).toBeUndefined();
    tell("updated", "a", "linux/amd64");
    expect(platforms.current()).toEqual(["linux/amd64"]);
  });

  it("are told once each, without those that the cache does not serve", () => {
    const { world, platforms, tell } = setup();
    tell("added", "a", "linux/arm64");
    tell("added", "b", "linux/amd64");
    tell("added", "c", "linux/amd64");
    tell("added", "w", "windows/amd64");
    tell("updated", "c", "linux/amd64");
    expect(platforms.current()).toEqual(["linux/amd64", "linux/arm64"]);
    expect(world.news).toBe(2);
  });

  it("stay for a while after their last node", () => {
    const { world, platforms, tell } = setup();
    tell("added", "a", "linux/amd64");
    tell("added", "b", "linux/arm64");
    tell("added", "c", "linux/arm64");
    tell("deleted", "b", "linux/arm64");
    world.now = 10_000;
    expect(platforms.current()).toHaveLength(2);
    tell("deleted", "c", "linux/arm64");
    world.now += 999;
    expect(platforms.current()).toHaveLength(2);
    world.now += 1;
    expect(platforms.current()).toEqual(["linux/amd64"]);
    tell("added", "c", "linux/arm64");
    expect(world.news).toBe(3);
  });

  it("follow a node that changes its labels", () => {
    const { world, platforms, tell } = setup();
    tell("added", "a", "linux/amd64");
    tell("updated", "a", "linux/arm64");
    world.now = 1_000;
    expect(platforms.current()).toEqual(["linux/arm64"]);
  });
});
