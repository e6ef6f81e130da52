import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { UpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, expect, it } from "vitest";
import { upstreamRepository } from "../content/repository.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createManifestSource, type ManifestSource } from "./manifest-source.ts";
import { createPullThroughMetrics } from "./pull-through-metrics.ts";

const repository = upstreamRepository("a.example", "app");

let stores: TestStores;
let source: ManifestSource;
let asked: number;
let failure: UpstreamError;

beforeEach(async () => {
  stores = await openTestStores();
  asked = 0;
  const getManifest = async () => {
    asked += 1;
    throw failure;
  };
  source = createManifestSource({
    metadata: stores.metadata,
    client: { getManifest } as unknown as UpstreamClient,
    storeManifest: () => Promise.reject(new Error("not reached")),
    tagPolicyOf: () => ({ ttl: 0, freeze: false }),
    metrics: createPullThroughMetrics(createMetrics({ defaultMetrics: false })),
    notStored: () => undefined,
  });
});
afterEach(() => stores.dispose());

it("remembers a failure, but not one that is only told from memory: ten seconds would become twenty", async () => {
  const options = { kind: "unreachable", registry: "a.example" } as const;
  failure = new UpstreamError("connection refused; it is not asked for another 9 s", { ...options, remembered: true });
  for (let times = 0; times < 2; times += 1) await expect(source.byTag(repository, "v1")).rejects.toBe(failure);
  expect(asked).toBe(2);
  failure = new UpstreamError("connection refused", options);
  for (let times = 0; times < 2; times += 1) await expect(source.byTag(repository, "v1")).rejects.toBe(failure);
  expect(asked).toBe(3);
});
