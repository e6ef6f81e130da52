import { describe, expect, it } from "vitest";
import { withoutClusterRules } from "./machine-network.ts";

describe("withoutClusterRules", () => {
  it("drops the cluster's chains, rules and jumps and keeps everybody else's", () => {
    const kept = [
      "*nat",
      ":PREROUTING ACCEPT [0:0]",
      ":DOCKER - [0:0]",
      '-A PREROUTING -m comment --comment "not a KUBE-SERVICES rule" -j DOCKER',
      "COMMIT",
      "",
    ];
    const ours = [
      ":KUBE-SERVICES - [0:0]",
      ":CNI-HOSTPORT-DNAT - [0:0]",
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      "-A POSTROUTING -s 10.88.0.2/32 -j CNI-0123",
      "-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-NPX46M4PTMTKRN6Y",
      "-A CNI-0123 -d 10.88.0.0/24 -j ACCEPT",
    ];
    expect(withoutClusterRules([...kept.slice(0, 4), ...ours, ...kept.slice(4)].join("\n"))).toBe(kept.join("\n"));
  });
});
