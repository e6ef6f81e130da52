import { describe, expect, it } from "vitest";
import { CGROUP, NETWORK } from "./layout.ts";
import { inNetworkOf, NODE_NETWORK_PREFIX, nodeLayoutOf } from "./node-layout.ts";

describe("nodeLayoutOf", () => {
  const [first, second, third] = [1, 2, 3].map((number) => nodeLayoutOf("/clusters/x", number)) as [
    ReturnType<typeof nodeLayoutOf>,
    ReturnType<typeof nodeLayoutOf>,
    ReturnType<typeof nodeLayoutOf>,
  ];

  it("gives the first node the machine's network and address", () => {
    expect(first).toMatchObject({ name: "node-1", address: NETWORK.address, podSubnet: NETWORK.podSubnet });
    expect(first.network).toBeUndefined();
  });

  it("shares nothing between nodes", () => {
    const own = ({ network, ...layout }: typeof first) => [...Object.values(layout), ...Object.values(network ?? {})];
    for (const [a, b] of [
      [second, third],
      [first, third],
    ] as const) {
      expect(own(a).filter((value) => own(b).includes(value) && value !== a.network?.link)).toEqual([]);
    }
  });

  it("keeps the names by which a later run finds what a crash left", () => {
    for (const { cgroup, network, root } of [second, third]) {
      expect(cgroup.startsWith(`${CGROUP}-`)).toBe(true);
      expect(network?.namespace.startsWith(NODE_NETWORK_PREFIX)).toBe(true);
      expect(network?.link.startsWith(NODE_NETWORK_PREFIX)).toBe(true);
      // The kernel's limit for names of interfaces.
      expect(network?.link.length).toBeLessThan(16);
      expect(root.startsWith("/clusters/x/")).toBe(true);
    }
  });
});

describe("inNetworkOf", () => {
  it("wraps commands of nodes with a network of their own only", () => {
    expect(inNetworkOf(nodeLayoutOf("/c", 1), "ctr", ["version"])).toEqual(["ctr", ["version"]]);
    expect(inNetworkOf(nodeLayoutOf("/c", 2), "ctr", ["version"])).toEqual([
      "nsenter",
      ["--net=/run/netns/creg-node-2", "ctr", "version"],
    ]);
  });
});
