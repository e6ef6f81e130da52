import { createLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { describe, expect, it } from "vitest";
import type { AdmissionRequest } from "./admission-review.ts";
import { UNGATED } from "./cluster-state/cluster-view.ts";
import { createReviewer, type ReviewerDeps } from "./review-pod.ts";
import { controller, testPod } from "./testing/pods.ts";
import { patchIn, testRequest } from "./testing/reviews.ts";
import { testRules } from "./testing/rules.ts";

function setUp(deps: Partial<ReviewerDeps> = {}) {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const logger = createLogger({ component: "webhook", destination });
  const metrics = createMetrics({ defaultMetrics: false });
  const reviewer = createReviewer({
    mode: "rewrite",
    rules: testRules(),
    cluster: () => UNGATED,
    logReviews: true,
    logger,
    metrics,
    ...deps,
  });
  const review = (keys: Partial<AdmissionRequest> = {}) => reviewer(testRequest(keys));
  return { review, lines, metrics };
}

const debug = { name: "debug", image: "alpine" };

describe("a review", () => {
  it("patches a generateName pod and echoes the uid", () => {
    const { review, lines } = setUp();
    const answer = review({ uid: "abc" });
    expect(answer.response).toMatchObject({ uid: "abc", allowed: true, patchType: "JSONPatch" });
    expect(patchIn(answer)?.toSorted((a, b) => a.path.localeCompare(b.path))).toEqual([
      {
        op: "add",
        path: "/metadata/annotations",
        value: { "cache-registry.enix.io/original-images": '{"web":"nginx:1.27"}' },
      },
      { op: "add", path: "/metadata/labels", value: { "cache-registry.enix.io/managed": "true" } },
      { op: "replace", path: "/spec/containers/0/image", value: "localhost:7439/docker.io/library/nginx:1.27" },
    ]);
    expect(lines).toEqual([
      expect.objectContaining({
        msg: "pod reviewed",
        outcome: "patched",
        namespace: "shop",
        generateName: "web-7d4b9c-",
        rewritten: 1,
      }),
    ]);
  });

  it("of a pod with thousands of images, or one whose name never ends, writes a short line", () => {
    const { review, lines } = setUp();
    const containers = Array.from({ length: 5_000 }, (_, index) => ({
      name: `c${index}`,
      image: `NOT/${"x".repeat(500)}`,
    }));
    const metadata = { name: "n".repeat(100_000), generateName: "g".repeat(100_000) };
    expect(review({ object: testPod({ metadata, spec: { containers } }) }).response.allowed).toBe(true);
    expect(JSON.stringify(lines).length).toBeLessThan(16_000);
    expect(lines).toMatchObject([{ outcome: "patched", skipped: expect.any(Array), skippedInAll: 5_000 }]);
  });

  it("is the same for a dry run of the API server", () => {
    const { review } = setUp();
    expect(review({ dryRun: true })).toEqual(review());
  });

  it("adds single keys to maps that exist", () => {
    const { review } = setUp();
    const object = testPod({ metadata: { labels: {}, annotations: { a: "b" } } });
    const paths = patchIn(review({ object }))?.map(({ op, path }) => `${op} ${path}`);
    expect(paths?.toSorted()).toEqual([
      "add /metadata/annotations/cache-registry.enix.io~1original-images",
      "add /metadata/labels/cache-registry.enix.io~1managed",
      "replace /spec/containers/0/image",
    ]);
  });

  it("patches only the image of a new ephemeral container", () => {
    const { review } = setUp();
    const old = { name: "old", image: "busybox" };
    const answer = review({
      operation: "UPDATE",
      subResource: "ephemeralcontainers",
      name: "web-1",
      object: testPod({ metadata: { name: "web-1" }, spec: { ephemeralContainers: [old, debug] } }),
      oldObject: testPod({ metadata: { name: "web-1" }, spec: { ephemeralContainers: [old] } }),
    });
    expect(patchIn(answer)).toEqual([
      { op: "replace", path: "/spec/ephemeralContainers/1/image", value: "localhost:7439/docker.io/library/alpine" },
    ]);
  });

  it.each<[string, Partial<AdmissionRequest>, string]>([
    ["an update of a pod", { operation: "UPDATE", oldObject: testPod() }, "ignored"],
    ["a deletion", { operation: "DELETE", object: null, oldObject: testPod() }, "ignored"],
    ["another subresource", { operation: "CREATE", subResource: "eviction", object: {} }, "ignored"],
    ["a status update", { operation: "UPDATE", subResource: "status" }, "ignored"],
    ["another resource", { resource: { group: "apps", version: "v1", resource: "deployments" } }, "ignored"],
    ["pods of another group", { resource: { group: "metrics.k8s.io", version: "v1", resource: "pods" } }, "ignored"],
    ["no object", { object: null }, "failed"],
    ["an object that is no pod", { object: { spec: { containers: {} } } }, "failed"],
    [
      "an update without the old pod",
      { operation: "UPDATE", subResource: "ephemeralcontainers", oldObject: null },
      "failed",
    ],
    [
      "an opt-out",
      { object: testPod({ metadata: { labels: { "cache-registry.enix.io/image-caching-policy": "ignore" } } }) },
      "excluded",
    ],
    [
      "a mirror pod",
      { object: testPod({ metadata: { annotations: { "kubernetes.io/config.mirror": "x" } } }) },
      "excluded",
    ],
    ["a pod for Windows", { object: testPod({ spec: { os: { name: "windows" } } }) }, "excluded"],
    [
      "a pod that is rewritten already",
      { object: testPod({ spec: { containers: [{ name: "a", image: "localhost:7439/ghcr.io/a" }] } }) },
      "unchanged",
    ],
  ])("allows without a patch: %s", async (_, keys, outcome) => {
    const { review, lines, metrics } = setUp();
    const answer = review(keys);
    expect(answer.response).toEqual({ uid: testRequest().uid, allowed: true });
    expect(lines).toEqual([expect.objectContaining({ outcome, msg: "pod reviewed" })]);
    expect(await metrics.text()).toContain(`cache_registry_webhook_reviews_total{outcome="${outcome}"} 1`);
  });

  it("allows when something of ours breaks, and logs and counts it", async () => {
    const broken = {
      ...testRules(),
      isDenied: () => {
        throw new Error("out of luck");
      },
    };
    const { review, lines, metrics } = setUp({ rules: broken });
    expect(review().response).toEqual({ uid: testRequest().uid, allowed: true });
    expect(lines[0]).toMatchObject({ level: "error", msg: "review failed", err: { message: "out of luck" } });
    expect(lines[1]).toMatchObject({ level: "warn", outcome: "failed", generateName: "web-7d4b9c-" });
    expect(await metrics.text()).toContain('cache_registry_webhook_reviews_total{outcome="failed"} 1');
  });

  it("says in the log and the metrics what was left, and why", async () => {
    const { review, lines, metrics } = setUp();
    const containers = [
      { name: "web", image: "nginx" },
      { name: "bad", image: "X" },
    ];
    review({ object: testPod({ spec: { containers } }) });
    review({ object: testPod({ metadata: { ownerReferences: [controller("x.io/v1", "Y")] } }) });
    expect(lines.map(({ skipped }) => skipped)).toMatchObject([
      [{ container: "bad", image: "X", reason: "invalid" }],
      [{ container: "web", image: "nginx:1.27", reason: "owner" }],
    ]);
    const text = await metrics.text();
    expect(text).toContain('cache_registry_webhook_images_total{result="rewritten",reason=""} 1');
    expect(text).toContain('cache_registry_webhook_images_total{result="skipped",reason="owner"} 1');
    expect(text).toContain("cache_registry_webhook_review_duration_seconds_count 2");
  });

  it("is silent when asked to, except about failures", () => {
    const { review, lines } = setUp({ logReviews: false });
    review();
    review({ object: null });
    expect(lines.map(({ outcome }) => outcome)).toEqual(["failed"]);
  });

  it("takes far less than the 5 ms allowed, also for a pod of 200 containers", () => {
    const { review } = setUp();
    const containers = Array.from({ length: 200 }, (_, index) => ({
      name: `c${index}`,
      image: `ghcr.io/a/b${index}:1`,
    }));
    const object = testPod({ spec: { containers } });
    const times = Array.from({ length: 100 }, () => {
      const start = performance.now();
      review({ object });
      return performance.now() - start;
    });
    expect(times.toSorted((a, b) => a - b)[50]).toBeLessThan(20);
  });
});

describe("in mirror mode a review", () => {
  it("only adds the label, whatever the images", () => {
    const { review } = setUp({ mode: "mirror" });
    const object = testPod({ metadata: { labels: { a: "b" } }, spec: { priorityClassName: "system-node-critical" } });
    expect(patchIn(review({ object }))).toEqual([
      { op: "add", path: "/metadata/labels/cache-registry.enix.io~1managed", value: "true" },
    ]);
  });

  it("leaves labelled pods, opt-outs, ephemeral containers and dry runs", () => {
    const { review } = setUp({ mode: "mirror" });
    const labelled = (labels: Record<string, string>) => ({ object: testPod({ metadata: { labels } }) });
    expect(patchIn(review(labelled({ "cache-registry.enix.io/managed": "true" })))).toBeUndefined();
    expect(patchIn(review(labelled({ "cache-registry.enix.io/image-caching-policy": "ignore" })))).toBeUndefined();
    const object = testPod({ spec: { ephemeralContainers: [debug] } });
    const update = { operation: "UPDATE", subResource: "ephemeralcontainers", object, oldObject: testPod() };
    expect(patchIn(review(update))).toBeUndefined();
    expect(patchIn(setUp({ mode: "mirror", rules: testRules({ dryRun: true }) }).review())).toBeUndefined();
  });
});
