import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printClusterState } from "@cache-registry/core/cluster-state";
import { createHealth } from "@cache-registry/runtime/health";
import { createLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ClusterStateFile, createClusterStateFile } from "./cluster-state-file.ts";

const OWNER = { namespace: "shop", apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1" };
const KEY = "shop/apps/ReplicaSet/web-1";
const SOON = { timeout: 10_000, interval: 20 };

function stateText({ healthy = true, reasons = [] as string[], until = new Date(Date.now() + 60_000) } = {}): string {
  const loops = [{ ...OWNER, until }];
  return printClusterState({ version: 1, writtenAt: new Date(), healthy, reasons, loops });
}

let folder: string;
let opened: ClusterStateFile | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "webhook-cluster-state-"));
});

afterEach(async () => {
  await opened?.service.stop?.();
  opened = undefined;
  rmSync(folder, { recursive: true });
});

function open({ pollInterval = 60_000, now = Date.now } = {}) {
  const lines: { readonly msg: string; readonly level: string; readonly why?: string }[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const logger = createLogger({ component: "webhook", destination });
  const metrics = createMetrics({ defaultMetrics: false });
  const health = createHealth();
  const state = createClusterStateFile({
    file: join(folder, "state.json"),
    logger,
    metrics,
    health,
    pollInterval,
    now,
  });
  opened = state;
  const start = async () => state.service.start?.(new AbortController().signal);
  return { state, lines, metrics, health, start };
}

/** As the kubelet does it: a new folder, and one link that is renamed over the last. */
async function mountVersion(version: string, text: string): Promise<void> {
  await mkdir(join(folder, version));
  writeFileSync(join(folder, version, "state.json"), text);
  symlinkSync(version, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
}

describe("the file of the cluster's state", () => {
  it("follows a mounted ConfigMap, and says so once per change", async () => {
    await mountVersion("..1", stateText({ healthy: false, reasons: ["the registry is not ready", "no proxy"] }));
    symlinkSync("..data/state.json", join(folder, "state.json"));
    const { state, lines, metrics, health, start } = open();
    expect(state.view().unhealthy).toBe("the cluster state was not read yet");

    await start();
    expect(state.view().unhealthy).toBe("the registry is not ready; no proxy");
    expect((await health.report()).checks).toContainEqual({
      name: "cluster state",
      ok: false,
      warnOnly: true,
      why: "the registry is not ready; no proxy",
    });
    expect(await metrics.text()).toContain("cache_registry_webhook_cluster_healthy 0");

    await mountVersion("..2", stateText());
    await vi.waitFor(() => expect(state.view().unhealthy).toBeUndefined(), SOON);
    expect(state.view().isLooping(KEY)).toBe(true);
    expect(state.view().isLooping("shop/apps/ReplicaSet/web-2")).toBe(false);
    expect(await metrics.text()).toContain("cache_registry_webhook_cluster_healthy 1");
    expect(await metrics.text()).toContain("cache_registry_webhook_looping_owners 1");

    await state.read();
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      "warn no images are rewritten",
      "info images are rewritten",
    ]);
  });

  it("does without notifications", async () => {
    const { state, start } = open({ pollInterval: 20 });
    rmSync(folder, { recursive: true });
    await start();
    expect(state.view().unhealthy).toMatch(/cannot be read.*ENOENT/);

    await mkdir(folder);
    writeFileSync(join(folder, "state.json"), stateText());
    await vi.waitFor(() => expect(state.view().unhealthy).toBeUndefined(), SOON);
  });

  it("takes whatever is wrong for an unhealthy cache, also after it was right", async () => {
    const { state } = open();
    const file = join(folder, "state.json");
    const isHealthy = async () => {
      await state.read();
      return state.view().unhealthy === undefined;
    };
    expect(await isHealthy()).toBe(false);
    for (const bad of ["", "{}", "x".repeat(1024 * 1024 + 1)]) {
      writeFileSync(file, stateText());
      expect(await isHealthy()).toBe(true);
      writeFileSync(file, bad);
      expect(await isHealthy()).toBe(false);
      expect(state.view().isLooping(KEY)).toBe(false);
    }
    writeFileSync(file, stateText());
    expect(await isHealthy()).toBe(true);
    rmSync(file);
    expect(await isHealthy()).toBe(false);
    writeFileSync(file, stateText());
    expect(await isHealthy()).toBe(true);
  });

  it("goes by what the controllers wrote, however long ago, except for owners whose time is over", async () => {
    const until = new Date("2026-11-21T12:00:00Z");
    let time = until.getTime() - 1;
    const { state } = open({ now: () => time });
    writeFileSync(join(folder, "state.json"), stateText({ until }));
    await state.read();
    expect(state.view().isLooping(KEY)).toBe(true);

    time += 365 * 24 * 3_600_000;
    expect(state.view().isLooping(KEY)).toBe(false);
    expect(state.view().unhealthy).toBeUndefined();
  });
});
