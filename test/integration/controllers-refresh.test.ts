import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { CachedImage } from "../../packages/kube/src/cached-image.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { findCondition } from "../../packages/kube/src/conditions.ts";
import { NODES, PODS } from "../../packages/kube/src/resource.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import {
  applyDefinition,
  cachedPod,
  clean,
  connect,
  type RunningTerm,
  recordOf,
  runTerm,
} from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { digestOf, type Image, makeImage, makeIndex } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

/* The controllers, the registry and an upstream, all real: what becomes of tags that move and of nodes that come. */

const run = promisify(execFile);
let server: ApiServer;
let client: KubeClient;
let upstream: UpstreamRegistry;
let cache: RegistryProcess;
let running: RunningTerm | undefined;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
  upstream = await startUpstreamRegistry();
  cache = await startRegistryProcess(upstream.configuration({ tagTtl: "1s" }));
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  await clean(client);
});
afterAll(async () => {
  await running?.stop();
  client?.close();
  await server?.stop();
  await cache?.dispose();
  await upstream?.dispose();
});

const start = (): void => {
  running = runTerm(client, cache.management, { expiryDelay: 3_600_000 });
};
const nameOf = (image: string) => `${UPSTREAM_NAME}/${image}`;

async function recordIs(image: string, check: (record: CachedImage) => void): Promise<CachedImage> {
  return eventually(async () => {
    const record = await recordOf(client, nameOf(image));
    check(record);
    return record;
  });
}

function addNode(name: string, architecture: string): Promise<unknown> {
  const labels = { "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture };
  return client.create(NODES, { apiVersion: "v1", kind: "Node", metadata: { name, labels } });
}

it("notices that a tag moved, warms what it names now, and asks again with HEAD only", async () => {
  const [first, second] = [makeImage([3_000]), makeImage([4_000])];
  await upstream.api.pushImage("team/moving", "latest", first);
  start();
  await client.create(PODS, cachedPod("moving", [nameOf("team/moving:latest")]));
  await recordIs("team/moving:latest", ({ status }) => expect(status?.phase).toBe("Ready"));
  await eventually(() => expect(upstream.requests(/^HEAD .*moving\/manifests\/latest/)).toBeGreaterThan(1));
  expect(upstream.requests(/^GET .*moving\/manifests\//)).toBe(1);
  await upstream.api.pushImage("team/moving", "latest", second);
  const { status } = await recordIs("team/moving:latest", (record) => {
    expect(record.status).toMatchObject({ phase: "Ready", digest: second.manifest.digest });
  });
  expect(status?.upstreamDigest).toBe(second.manifest.digest);
  await upstream.proxy.off();
  try {
    const pulled = await createRegistryApi(cache.url).get(`up/team/moving/blobs/${second.blobs[1]?.digest}`);
    expect(digestOf(pulled)).toBe(second.blobs[1]?.digest);
  } finally {
    await upstream.proxy.on();
  }
});

it("says that an image is stale, and why, when its tag is deleted upstream; and that it is fresh again", async () => {
  const image = makeImage([3_000]);
  await upstream.api.pushImage("team/deleted", "1", image);
  start();
  await client.create(PODS, cachedPod("deleted", [nameOf("team/deleted:1")]));
  await recordIs("team/deleted:1", ({ status }) => expect(status?.phase).toBe("Ready"));
  await upstream.api.request("DELETE", `team/deleted/manifests/${image.manifest.digest}`);
  await recordIs("team/deleted:1", ({ status }) => {
    expect(status?.phase).toBe("Stale");
    const ready = findCondition(status?.conditions, "Ready");
    expect(ready).toMatchObject({ status: "True", reason: "Stale" });
    expect(ready?.message).toContain("not found");
  });
  await upstream.api.pushImage("team/deleted", "1", image);
  // A failure is remembered for 10 s.
  await eventually(async () => {
    expect((await recordOf(client, nameOf("team/deleted:1"))).status?.phase).toBe("Ready");
  });
});

it("warms the platforms of the nodes, also those of nodes that come later", async () => {
  const images = {
    amd64: makeImage([3_000]),
    arm64: makeImage([3_100]),
    s390x: makeImage([3_200]),
  };
  await upstream.api.pushImage("team/multi", "1", makeIndex(images));
  const fetched = (image: Image): number => upstream.requests(new RegExp(`^GET .*blobs/${image.blobs[1]?.digest}`));
  await addNode("a", "amd64");
  start();
  await client.create(PODS, cachedPod("multi", [nameOf("team/multi:1")]));
  await recordIs("team/multi:1", ({ status }) => expect(status?.phase).toBe("Ready"));
  expect(Object.values(images).map(fetched)).toEqual([1, 0, 0]);
  await addNode("b", "arm64");
  await eventually(() => expect(Object.values(images).map(fetched)).toEqual([1, 1, 0]));
  await recordIs("team/multi:1", ({ status }) => expect(status?.phase).toBe("Ready"));
});

it("tells people with kubectl: what is safe, and why something is not", async () => {
  await upstream.api.pushImage("team/shown", "1", makeImage([3_000]));
  start();
  await client.create(PODS, cachedPod("shown", [nameOf("team/shown:1"), nameOf("team/missing:1")]));
  await recordIs("team/shown:1", ({ status }) => expect(status?.phase).toBe("Ready"));
  await recordIs("team/missing:1", ({ status }) => expect(status?.phase).toBe("Failed"));
  const kubectl = async (...args: string[]) =>
    (await run(server.kubectl, ["--kubeconfig", server.kubeconfig, ...args])).stdout.trim().split("\n");
  const [header = "", ...rows] = await kubectl("get", "ci");
  expect(header.split(/\s+/)).toEqual(["NAME", "PHASE", "SIZE", "PODS", "EXPIRES", "AGE"]);
  expect(new Set(rows.map((row) => row.split(/\s+/)[1]))).toEqual(new Set(["Failed", "Ready"]));
  const [wide = "", ...texts] = await kubectl("get", "ci", "-o", "wide");
  expect(wide).toMatch(/IMAGE\s+DIGEST\s+MESSAGE$/);
  const told = texts.join("\n");
  expect(told).toContain("The image is in the cache: pods start without its upstream.");
  expect(told).toContain("The image could not be fetched");
});
