import { createMetrics } from "@cache-registry/runtime/metrics";
import { describe, expect, it } from "vitest";
import { createPullThroughMetrics } from "./pull-through-metrics.ts";

describe("createPullThroughMetrics", () => {
  it("gives registries that only requests name no series of their own", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const pulls = createPullThroughMetrics(metrics, (name) => (name === "docker.io" ? name : "unlisted"));
    for (const upstream of ["docker.io", "a.example", "b.example"]) {
      pulls.answered("manifest", upstream, "miss");
      pulls.upstreamBytes(upstream, 1);
      pulls.resumed(upstream, 1);
      pulls.staleReason(upstream, "timeout");
      pulls.servedBytes({ source: "fetch", upstream, bytes: 1 });
    }
    const text = await metrics.text();
    expect(text).not.toContain(".example");
    expect(text).toContain('pulls_total{kind="manifest",upstream="unlisted",outcome="miss"} 2');
    expect(text).toContain('pulls_total{kind="manifest",upstream="docker.io",outcome="miss"} 1');
  });
});
