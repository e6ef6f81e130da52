import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createUsageIndex } from "../../packages/controllers/src/cached-image/usage.ts";
import { createWatches, type Watches } from "../../packages/controllers/src/watches.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import type { InformerTiming } from "../../packages/kube/src/informer.ts";
import { PODS } from "../../packages/kube/src/resource.ts";
import { silentLogger } from "../../packages/runtime/src/logger.ts";
import { createMetrics, type Metrics } from "../../packages/runtime/src/metrics.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { applyDefinition, cachedPod, clean, connect, ENDPOINT, exists, FAST, runTerm } from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";
import { startFakeManagementApi } from "../support/fake-management-api.ts";

let server: ApiServer;
let client: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
});

afterAll(async () => {
  client?.close();
  await server?.stop();
});

function startWatches(timing: Partial<InformerTiming>): { watches: Watches; metrics: Metrics; stop(): Promise<void> } {
  const metrics = createMetrics({ defaultMetrics: false });
  const usage = createUsageIndex({ revisionsKept: 2 });
  const options = {
    client,
    mode: "rewrite",
    names: { endpoint: ENDPOINT, registries: new Set<string>() },
    sharedNamespaces: new Set<string>(),
    usage,
    shortLife: 180_000,
    logger: silentLogger(),
    metrics,
  } as const;
  const watches = createWatches({ ...options, timing: { retryInitial: 100, retryMax: 1_000, ...timing } });
  const ending = new AbortController();
  const running = [watches.pods, watches.images].map((informer) => informer.run(ending.signal));
  const stop = async (): Promise<void> => {
    ending.abort(new Error("the test is over"));
    await Promise.all(running);
  };
  return { watches, metrics, stop };
}

async function create(name: string): Promise<void> {
  await eventually(() => client.create(PODS, cachedPod(name, ["docker.io/library/nginx:1.27"])), 60_000);
}

async function restarts(metrics: Metrics, reason: string): Promise<number> {
  const line = (await metrics.text())
    .split("\n")
    .find((text) => text.includes(`kube_watch_restarts_total{resource="pods",reason="${reason}"}`));
  return Number(line?.split(" ").at(-1) ?? 0);
}

describe("watches", () => {
  let started: ReturnType<typeof startWatches>;

  beforeEach(() => clean(client));
  afterEach(async () => {
    await started.stop();
    await clean(client);
  });

  it("holds reduced pods: where, who made them, and their images", async () => {
    await create("web");
    started = startWatches({});
    await started.watches.pods.synced(AbortSignal.timeout(10_000));
    expect([...started.watches.pods.values()]).toEqual([
      {
        namespace: "default",
        name: "web",
        owner: undefined,
        images: ["docker.io/library/nginx:1.27"],
        recorded: ["docker.io/library/nginx:1.27"],
        refused: [],
        pullSecrets: [],
        // It is young: its end could be part of a loop.
        life: expect.objectContaining({ ending: false }),
      },
    ]);
  });

  it("go on after kill -9 and restart of the API server, without losing a change", async () => {
    started = startWatches({});
    await create("before");
    await eventually(() => expect([...started.watches.pods.keys()]).toEqual(["default/before"]));
    await server.restart();
    await create("after");
    await eventually(() =>
      expect([...started.watches.pods.keys()].sort()).toEqual(["default/after", "default/before"]),
    );
    await client.delete(PODS, { namespace: "default", name: "before" });
    await eventually(() => expect([...started.watches.pods.keys()]).toEqual(["default/after"]));
    expect(await restarts(started.metrics, "connection")).toBeGreaterThan(0);
  });

  it("notice a hung API server, and go on when it is back", async () => {
    started = startWatches({ stallTimeout: 2_000 });
    await create("before");
    await eventually(() => expect(started.watches.pods.size).toBe(1));
    server.freeze();
    try {
      await eventually(async () => expect(await restarts(started.metrics, "stalled")).toBeGreaterThan(0));
      await sleep(1_000);
    } finally {
      server.thaw();
    }
    await create("after");
    await eventually(() => expect(started.watches.pods.size).toBe(2), 60_000);
    await eventually(() => expect(started.watches.pods.problem()).toBeUndefined());
  });

  it("page through more objects than fit into one answer", async () => {
    const names = Array.from({ length: 620 }, (_, index) => `pod-${index}`);
    for (let start = 0; start < names.length; start += 20) {
      await Promise.all(names.slice(start, start + 20).map((name) => create(name)));
    }
    started = startWatches({});
    await started.watches.pods.synced(AbortSignal.timeout(20_000));
    expect(started.watches.pods.size).toBe(620);
  });
});

describe("the controllers", () => {
  it("finish their work across a restart of the API server", async () => {
    const registry = await startFakeManagementApi();
    const running = runTerm(client, registry.url, {
      timing: { ...FAST, informer: { retryInitial: 100, retryMax: 500 } },
    });
    try {
      await create("web");
      await eventually(() => expect(registry.images.size).toBe(1));
      await client.delete(PODS, { namespace: "default", name: "web" });
      await server.restart();
      await eventually(async () => expect(await exists(client, "docker.io/library/nginx:1.27")).toBe(false));
      await eventually(() => expect(registry.images.size).toBe(0));
    } finally {
      await running.stop();
      await registry.close();
    }
  });
});
