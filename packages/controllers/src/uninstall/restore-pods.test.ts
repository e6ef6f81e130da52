import { setTimeout as sleep } from "node:timers/promises";
import { ApiError } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { Pod } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { type RestoreDeps, restorePods } from "./restore-pods.ts";

/** Races with controllers of workloads, which an API server alone does not have; the rest is in test/integration. */

const names = { endpoint: "localhost:7439", registries: new Set<string>() };
const CACHED = "localhost:7439/docker.io/library/nginx:1.27";

function pod(uid: string, more: Partial<Pod["metadata"]> = {}, image = CACHED): Pod {
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "w", controller: true }];
  const metadata = { name: "web-0", namespace: "default", uid, ownerReferences, ...more };
  return { metadata, spec: { containers: [{ name: "main", image }] }, status: { phase: "Running" } };
}

/** A cluster whose pods are what `pods` says, and where an eviction is what `onEvict` makes of it. */
function restore(pods: () => Pod[], onEvict: () => void | Promise<void>, more: Partial<RestoreDeps> = {}) {
  const fake = {
    list: async () => ({ metadata: {}, items: pods() }),
    evict: async () => onEvict(),
  };
  const client = fake as unknown as KubeClient;
  const signal = AbortSignal.timeout(10_000);
  return restorePods({ client, names, signal, timeout: 500, interval: 5, ...more });
}

describe("pods of controllers", () => {
  it("are not done when another pod took the name of the one that was evicted", async () => {
    let now = [pod("a")];
    const evictions: string[] = [];
    const done = await restore(
      () => now,
      () => {
        evictions.push(now[0]?.metadata.uid ?? "");
        const another = evictions.length === 1;
        now = another ? [pod("b")] : [pod("c", {}, "nginx")];
        if (another) throw new ApiError(409, { kind: "Status", reason: "Conflict" });
      },
    );
    expect([done.remaining, evictions]).toEqual([[], ["a", "b"]]);
  });

  it("are looked for once more after the last one was helped", async () => {
    let now = [pod("a")];
    let evictions = 0;
    const done = await restore(
      () => now,
      () => {
        evictions += 1;
        now = evictions === 1 ? [pod("b", { name: "web-1" })] : [];
        throw new ApiError(404, { kind: "Status", reason: "NotFound" });
      },
    );
    expect([done.remaining, evictions]).toEqual([[], 2]);
  });

  it("whose template names the cache are not evicted for ever, nor waited for", async () => {
    let uid = 0;
    let evictions = 0;
    const began = performance.now();
    const done = await restore(
      () => [pod(String(uid))],
      () => {
        evictions += 1;
        uid += 1;
      },
      { settled: 50, timeout: 5_000 },
    );
    expect(done.remaining).toEqual([
      { pod: "default/web-0", why: "the template of its controller itself names the cache" },
    ]);
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(uid).toBe(evictions);
  });

  it("are all evicted, however long it takes to go through those that were there at the beginning", async () => {
    let left = Array.from({ length: 20 }, (_, index) => pod(String(index), { name: `web-${index}` }));
    const done = await restore(
      () => left,
      async () => {
        await sleep(10);
        left = left.slice(1);
      },
      { settled: 50, timeout: 5_000 },
    );
    expect(done).toEqual({ evicted: 20, patched: 0, remaining: [] });
  });

  it("that are long overdue, since their node is away, hold up nothing: nothing is started in them any more", async () => {
    const deletionTimestamp = new Date(Date.now() - 300_000).toISOString();
    const done = await restore(
      () => [pod("a", { deletionTimestamp })],
      () => {},
    );
    expect(done.remaining).toEqual([]);
    const ending = new Date(Date.now() + 20_000).toISOString();
    const waited = await restore(
      () => [pod("a", { deletionTimestamp: ending })],
      () => {},
      { timeout: 50 },
    );
    expect(waited.remaining).toEqual([{ pod: "default/web-0", why: "it is ending" }]);
  });

  it("are found again after a moment without an API server", async () => {
    const failures = [new Error("connect ECONNREFUSED"), new ApiError(410, {}), new ApiError(503, {})];
    let now = [pod("a")];
    const done = await restore(
      () => {
        const failure = failures.pop();
        if (failure) throw failure;
        return now;
      },
      () => {
        now = [];
      },
      { timeout: 5_000 },
    );
    expect(done).toEqual({ evicted: 1, patched: 0, remaining: [] });
  });

  it.each([
    ["is away for longer than there is time", new Error("connect ECONNREFUSED")],
    ["says no", new ApiError(403, { kind: "Status", message: "you cannot list pods" })],
  ])("cannot be found when the API server %s", async (_what, failure) => {
    const began = performance.now();
    const list = () => {
      throw failure;
    };
    await expect(restore(list, () => {}, { timeout: 100 })).rejects.toBe(failure);
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it("that may not be evicted are named at once", async () => {
    const began = performance.now();
    const done = await restore(
      () => [pod("a")],
      () => {
        throw new ApiError(403, { kind: "Status", message: "you cannot create resource pods/eviction" });
      },
      { timeout: 5_000 },
    );
    expect(done.remaining).toEqual([{ pod: "default/web-0", why: expect.stringContaining("cannot create resource") }]);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
