import { describe, expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";

describe("createMetrics", () => {
  it("prefixes our names and writes the text format", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const counter = metrics.counter({ name: "pulls_total", help: "Pulls", labels: ["result"] });
    counter.inc({ result: "hit" }, 2);
    let size = 7;
    metrics.gauge({ name: "size_bytes", help: "Size", collect: (gauge) => gauge.set(size) });
    metrics.histogram({ name: "wait_seconds", help: "Wait", buckets: [1, 2] }).observe(1.5);
    size = 9;
    const text = await metrics.text();
    expect(text).toContain('cache_registry_pulls_total{result="hit"} 2');
    expect(text).toContain("cache_registry_size_bytes 9");
    expect(text).toContain('cache_registry_wait_seconds_bucket{le="2"} 1');
    expect(metrics.contentType).toMatch(/^text\/plain/);
  });

  it("keeps processes apart, with Node's own metrics under their usual names", async () => {
    const [one, two] = [createMetrics(), createMetrics()];
    one.counter({ name: "only_one_total", help: "x" });
    expect(await one.text()).toContain("process_resident_memory_bytes");
    expect(await two.text()).not.toContain("only_one_total");
  });

  it("gives the same metric for the same name, and refuses another kind", () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const options = { name: "pulls_total", help: "Pulls" };
    expect(metrics.counter(options)).toBe(metrics.counter(options));
    expect(() => metrics.gauge(options)).toThrow("another kind");
    metrics.gauge({ name: "size", help: "x", collect: () => {} });
    expect(() => metrics.gauge({ name: "size", help: "x", collect: () => {} })).toThrow("collected elsewhere");
  });
});
