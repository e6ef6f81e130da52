import {
  createScriptedRegistry,
  type ScriptedRegistry,
} from "@cache-registry/registry-client/testing/scripted-registry";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ContentRequest } from "./answer.ts";
import { createCacheClient } from "./cache-client.ts";
import { type CachedAnswers, createCachedAnswers } from "./cached-answer.ts";
import { type CircuitBreaker, createCircuitBreaker } from "./circuit-breaker.ts";
import { createContinuation } from "./continuation.ts";
import { createProxyMetrics } from "./metrics.ts";

let registry: ScriptedRegistry;
let breaker: CircuitBreaker;
let cached: CachedAnswers;
let close: () => Promise<void>;

beforeEach(async () => {
  registry = await createScriptedRegistry();
  breaker = createCircuitBreaker({ window: 1000 });
  const cache = createCacheClient({ url: registry.url, connectTimeout: 500, headersTimeout: 300 });
  close = () => cache.close();
  const metrics = createProxyMetrics(createMetrics({ defaultMetrics: false }), breaker);
  const nobody = () => Promise.reject(new Error("nobody is asked"));
  const sources = { fromUpstream: nobody, fromCache: nobody };
  cached = createCachedAnswers({
    cache,
    breaker,
    continuation: createContinuation({ sources, metrics, logger: silentLogger() }),
  });
});
afterEach(async () => {
  await close();
  await registry.stop();
});

const request = (): ContentRequest => ({
  method: "GET",
  resource: { kind: "manifest", name: "docker.io/library/nginx", reference: "1" },
  target: { kind: "upstream", registry: "docker.io", repository: "library/nginx", byNamespace: false },
  headers: {},
  query: new URLSearchParams(),
  signal: AbortSignal.timeout(10_000),
});

it("a cache that is too slow is passed by, but not taken for dead", async () => {
  registry.intercept = () => true;
  expect(await cached.get(request(), false)).toEqual({ passedBy: "timeout", silent: true });
  expect(breaker.open).toBe(false);
});

it("a cache that nobody answers for is passed by, and not asked for a while", async () => {
  await registry.stop();
  expect(await cached.get(request(), false)).toEqual({ passedBy: "connect", silent: true });
  expect(breaker.open).toBe(true);
  await registry.start();
  expect(await cached.get(request(), false)).toEqual({ passedBy: "not-found", silent: false });
  expect(breaker.open).toBe(false);
});
