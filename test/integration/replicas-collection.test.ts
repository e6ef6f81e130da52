import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../support/postgres-server.ts";
import { type Replicas, requireImage, startReplicas } from "../support/replicas.ts";
import { makeImage } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let postgres: PostgresServer;
let upstream: UpstreamRegistry;
let replicas: Replicas;
let shared: string;

beforeAll(async () => {
  [postgres, upstream] = await Promise.all([startPostgresServer(), startUpstreamRegistry()]);
});
afterEach(async () => {
  await replicas?.dispose();
  await rm(shared, { recursive: true, force: true });
});
afterAll(async () => {
  await Promise.all([upstream?.dispose(), postgres?.dispose()]);
});

/** On one folder, as if it were a mounted one. */
async function start(count: number, configuration: object): Promise<void> {
  shared = await mkdtemp(join(tmpdir(), "creg-shared-"));
  replicas = await startReplicas({
    count,
    database: await postgres.database(),
    storage: { blobs: { driver: "filesystem", filesystem: { path: shared } } },
    configuration: { ...upstream.configuration(), ...configuration },
  });
}

const blobs = () => readdir(join(shared, "blobs", "sha256"));
const leads = (index: number) => replicas.at(index).registry.output().includes("this replica leads");

describe("replicas on a shared file system", () => {
  it("push, pull and fetch together", async () => {
    await start(2, {});
    const image = makeImage([3 * MiB, 200_000]);
    await replicas.any.pushImage("shared/app", "v1", image);
    for (const { api } of replicas.all) await requireImage(api, "shared/app", image);
    const cold = makeImage([16 * MiB]);
    await upstream.api.pushImage("shared/cold", "v1", cold);
    upstream.proxy.reset();
    upstream.proxy.throttle(8e6);
    const name = `${UPSTREAM_NAME}/shared/cold`;
    const layer = cold.blobs[1] ?? cold.manifest;
    await replicas.at(0).api.get(`${name}/manifests/v1`);
    const pulls = [0, 1, 0, 1].map((index) =>
      download(`${replicas.at(index).registry.url}/v2/${name}/blobs/${layer.digest}`),
    );
    for (const { digest, cut } of await Promise.all(pulls)) expect([digest, cut]).toEqual([layer.digest, false]);
    upstream.proxy.throttle(undefined);
    expect(upstream.fetchedTwice()).toEqual([]);
    await eventually(async () => {
      for (const replica of await readdir(join(shared, "replicas"))) {
        expect(await readdir(join(shared, "replicas", replica, "ingest"))).toEqual([]);
      }
    });
    expect((await readdir(join(shared, "replicas"))).length).toBe(2);
  });

  it("are collected by one of them, and by another when that one is killed", async () => {
    await start(2, { gc: { grace: "1s" } });
    await eventually(() => expect([leads(0), leads(1)].filter(Boolean).length).toBe(1), 15_000);
    const leader = leads(0) ? 0 : 1;
    const other = replicas.at(1 - leader);
    const [first, second, kept] = [makeImage([100_000]), makeImage([200_000]), makeImage([300_000])];
    await other.api.pushImage("gc/kept", "v1", kept);
    const keptOnly = [kept.manifest, ...kept.blobs].map(({ digest }) => digest.slice("sha256:".length)).sort();
    for (const [image, kill] of [
      [first, false],
      [second, true],
    ] as const) {
      await other.api.pushImage("gc/app", "v1", image);
      expect((await blobs()).length).toBe(6);
      // Half a push, to be cleared away with the replica.
      const begun = await replicas.at(leader).api.request("POST", "gc/app/blobs/uploads/");
      await replicas.at(leader).api.request("PATCH", begun.headers.get("location") ?? "", { body: "some bytes" });
      if (kill) await replicas.at(leader).registry.kill();
      expect((await other.api.request("DELETE", `gc/app/manifests/${image.manifest.digest}`)).status).toBe(202);
      await eventually(async () => expect((await blobs()).sort()).toEqual(keptOnly), 20_000);
    }
    expect(leads(1 - leader)).toBe(true);
    await requireImage(other.api, "gc/kept", kept);
    // Not before it is certain that it is gone.
    await eventually(async () => expect((await readdir(join(shared, "replicas"))).length).toBe(1), 45_000);
    // Who comes back finds a leader.
    await replicas.at(leader).registry.start();
    await requireImage(replicas.at(leader).api, "gc/kept", kept);
    expect(leads(leader)).toBe(false);
  });

  it("tell the same of images that are wanted, and when the youngest of them started", async () => {
    await start(2, {});
    const image = makeImage([1 * MiB]);
    await upstream.api.pushImage("shared/wanted", "v1", image);
    const path = `/api/v1/images/${encodeURIComponent(`${UPSTREAM_NAME}/shared/wanted:v1`)}`;
    const [one, two] = [replicas.at(0).registry, replicas.at(1).registry];
    const wanted = await fetch(`${one.management}${path}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ owner: "cluster", pin: true }),
    });
    expect(wanted.status).toBe(202);
    await eventually(async () => {
      const description = (await (await fetch(`${two.management}${path}`)).json()) as object;
      expect(description).toMatchObject({ state: "ready", progress: 100, digest: image.manifest.digest });
    });
    const startedAt = async (management: string) =>
      ((await (await fetch(`${management}/api/v1/stats`)).json()) as { startedAt: string }).startedAt;
    const before = await startedAt(one.management);
    expect(await startedAt(two.management)).toBe(before);
    await two.stop();
    await two.start();
    const after = await startedAt(one.management);
    expect(Date.parse(after)).toBeGreaterThan(Date.parse(before));
    expect(await startedAt(two.management)).toBe(after);
  });
});
