import { createMetrics } from "@cache-registry/runtime/metrics";
import { describe, expect, it } from "vitest";
import { findUpstream, upstreamListSchema } from "../upstream.ts";
import { createTraffic } from "./traffic.ts";

const endpoint = new URL("https://registry-1.docker.io");
const upstreamWith = (more: object) =>
  findUpstream(upstreamListSchema.parse([{ registry: "docker.io", ...more }]), "docker.io");
const upstream = upstreamWith({});
const asking = { upstream, endpoint, resource: "manifest" };
const quota = (remaining: number) => ({ "ratelimit-limit": "100;w=600", "ratelimit-remaining": `${remaining};w=600` });

describe("createTraffic", () => {
  it("holds warm-ups while the quota is low, asks again every minute, and not longer than the window", () => {
    let now = 0;
    const traffic = createTraffic({ now: () => now });
    traffic.observe(asking, quota(50));
    expect(traffic.hold("docker.io")).toBeUndefined();
    traffic.observe({ ...asking, authorization: "Basic c29tZWJvZHk6ZWxzZQ==" }, quota(1));
    expect(traffic.hold("docker.io")).toBeUndefined();
    traffic.observe(asking, quota(10));
    const reason = "docker.io grants only 10 of 100 more pulls, which are kept for pods";
    expect(traffic.hold("docker.io")).toEqual({ reason, wait: 60_000, probe: false });
    expect(traffic.hold("quay.io")).toBeUndefined();
    now = 60_000;
    expect(traffic.hold("docker.io")).toEqual({ reason, wait: 0, probe: true });
    now = 600_000;
    expect(traffic.hold("docker.io")).toBeUndefined();
  });

  it("does not hold warm-ups for ever on news that nothing renews", () => {
    let now = 0;
    const traffic = createTraffic({ now: () => now });
    traffic.observe(asking, { "ratelimit-remaining": "3" });
    expect(traffic.hold("docker.io")).toBeDefined();
    now = 3_600_000;
    expect(traffic.hold("docker.io")).toBeUndefined();
  });

  it("tells what the upstream grants in the metrics, but not of names that requests make up", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const traffic = createTraffic({ metrics, isListed: (registry) => registry === "docker.io" });
    traffic.observe(asking, quota(76));
    traffic.observe({ ...asking, upstream: findUpstream([], "made-up.example.com") }, quota(3));
    const text = await metrics.text();
    expect(text).toContain('cache_registry_upstream_ratelimit_limit{upstream="docker.io"} 100');
    expect(text).toContain('cache_registry_upstream_ratelimit_remaining{upstream="docker.io"} 76');
    expect(text).toContain('cache_registry_upstream_ratelimit_window_seconds{upstream="docker.io"} 600');
    expect(text).not.toContain("made-up");
  });

  it("keeps limits when the configuration is read anew, and follows what changed in it", async () => {
    const traffic = createTraffic();
    const slots = traffic.slots(upstreamWith({ concurrency: 2 }));
    expect(traffic.slots(upstreamWith({ concurrency: 2, rate: 5 }))).toBe(slots);
    expect(traffic.slots(upstreamWith({ concurrency: 3 }))).not.toBe(slots);
  });

  it("does not let a request wait for its turn for ever", async () => {
    const traffic = createTraffic();
    const slow = upstreamWith({ rate: 0.1, timeouts: { headers: "50ms" } });
    await traffic.turn(slow, {});
    await expect(traffic.turn(slow, {})).rejects.toMatchObject({ kind: "rate-limited", retryAfter: 50 });
    const reason = new Error("left");
    await expect(traffic.turn(slow, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
