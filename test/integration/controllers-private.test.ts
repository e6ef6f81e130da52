import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Registry, startRegistry } from "../../hack/cluster/registry.ts";
import type { CachedImage } from "../../packages/kube/src/cached-image.ts";
import { createClient, type KubeClient } from "../../packages/kube/src/client.ts";
import { findCondition } from "../../packages/kube/src/conditions.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { CACHED_IMAGES, EVENTS, NAMESPACES, PODS, type Resource, SECRETS } from "../../packages/kube/src/resource.ts";
import type { Pod } from "../../packages/kube/src/workloads.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import {
  applyDefinition,
  cachedImage,
  cachedPod,
  clean,
  connect,
  FAST,
  type RunningTerm,
  recordOf,
  runTerm,
} from "../support/controllers.ts";
import { grantAccess, grantSecrets } from "../support/controllers-access.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { makeImage } from "../support/test-content.ts";

/* The controllers with the rights that the chart gives, the registry as a process, an upstream that wants a password. */

const HOST = "private.example.com";
const PASSWORD = "hunter2-of-the-upstream";
const SHARED = new Set(["shop"]);
let folder: string;
let upstream: Registry;
let server: ApiServer;
let admin: KubeClient;
let controllers: KubeClient;
let cache: RegistryProcess;
let running: RunningTerm | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "creg-private-"));
  await writeFile(join(folder, "htpasswd"), `robot:${await bcrypt.hash(PASSWORD, 5)}`);
  const auth = { htpasswd: { realm: "test", path: join(folder, "htpasswd") } };
  upstream = await startRegistry({ dir: join(folder, "upstream"), auth, log: () => {} });
  const entry = { registry: HOST, endpoints: [upstream.url], paths: ["up"], tagTtl: "1h" };
  cache = await startRegistryProcess({ upstreams: [entry], upstreamPolicy: "listed", log: { level: "debug" } });
  server = await startApiServer();
  admin = connect(server);
  await applyDefinition(admin);
  const own = { lease: "lease", secret: "token", deployment: "controllers", configMap: "state", daemonSet: "proxy" };
  await grantAccess(admin, { namespace: "default", ...own });
  for (const name of ["shop", "other"]) await admin.create(NAMESPACES, { metadata: { name } });
  await grantSecrets(admin, "shop");
  controllers = createClient({ env: { KUBECONFIG: server.limitedKubeconfig }, userAgent: "controllers", qps: 50 });
  await pushAll();
});
afterAll(async () => {
  await running?.stop();
  controllers?.close();
  admin?.close();
  await server?.stop();
  await cache?.dispose();
  await upstream?.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  await running?.stop();
  await clean(admin, [SECRETS as Resource<KubeObject>]);
  running = undefined;
});

async function pushAll(): Promise<void> {
  const authorization = `Basic ${Buffer.from(`robot:${PASSWORD}`).toString("base64")}`;
  const api = createRegistryApi(upstream.url, { authorization });
  for (const name of ["app", "second", "skipped", "declared", "restarted"]) {
    for (const tag of ["v1", "v2"]) await api.pushImage(`team/${name}`, tag, makeImage([5_000]));
  }
}

function start(shared: ReadonlySet<string> = SHARED): void {
  // Also so that a Secret that changed is read again within the test.
  const timing = { ...FAST, prewarm: { ...FAST.prewarm, repeatCredentials: 1_500, lookAtReady: 500 } };
  running = runTerm(controllers, cache.management, { sharedNamespaces: shared, timing });
}

async function putSecret(namespace: string, password = PASSWORD, host = HOST): Promise<void> {
  const config = JSON.stringify({ auths: { [host]: { auth: Buffer.from(`robot:${password}`).toString("base64") } } });
  const data = { ".dockerconfigjson": Buffer.from(config).toString("base64") };
  const metadata = { namespace, name: "pull" };
  const secret = { apiVersion: "v1", kind: "Secret", metadata, type: "kubernetes.io/dockerconfigjson", data };
  await admin.apply(SECRETS, secret, { fieldManager: "user" });
}

function privatePod(namespace: string, image: string): Pod {
  const pod = cachedPod(image.replace(/\W/g, "-"), [`${HOST}/team/${image}`], namespace);
  return { ...pod, spec: { ...pod.spec, imagePullSecrets: [{ name: "pull" }] } };
}

const reference = (image: string) => `${HOST}/team/${image}`;
const pull = (path: string) => createRegistryApi(cache.url).request("GET", `up/team/${path}`);

async function secretsAre(image: string, reason: string): Promise<CachedImage> {
  return eventually(async () => {
    const record = await recordOf(admin, reference(image));
    expect(findCondition(record.status?.conditions, "PullSecrets")?.reason).toBe(reason);
    return record;
  });
}

async function phaseIs(image: string, phase: string): Promise<CachedImage> {
  return eventually(async () => {
    const record = await recordOf(admin, reference(image));
    expect(record.status?.phase).toBe(phase);
    return record;
  });
}

describe("private images in a shared namespace", () => {
  it("are recorded with their Secret, warmed with its credentials, and served; nothing of it is written anywhere", async () => {
    await putSecret("shop");
    start();
    await admin.create(PODS, privatePod("shop", "app:v1"));
    const { spec, status, metadata } = await phaseIs("app:v1", "Ready");
    expect(spec.pullSecrets).toEqual([{ namespace: "shop", name: "pull" }]);
    expect(findCondition(status?.conditions, "PullSecrets")).toMatchObject({ status: "True", reason: "HandedOver" });
    expect((await pull("app/manifests/v1")).status).toBe(200);
    // Not warmed, but of the same repository.
    expect((await pull("app/manifests/v2")).status).toBe(200);
    const events = await eventually(async () => {
      const { items } = await admin.list(EVENTS);
      expect(JSON.stringify(items)).toContain(metadata.name);
      return items;
    });
    const written = JSON.stringify([spec, status, events]) + cache.output();
    for (const secret of [PASSWORD, Buffer.from(`robot:${PASSWORD}`).toString("base64")]) {
      expect(written).not.toContain(secret);
    }
  });

  it("follow their Secret: missing, made, changed", async () => {
    start();
    await admin.create(PODS, privatePod("shop", "second:v1"));
    await secretsAre("second:v1", "NotFound");
    await phaseIs("second:v1", "Failed");
    await putSecret("shop", PASSWORD, "ghcr.io");
    await secretsAre("second:v1", "NoMatch");
    await putSecret("shop");
    await secretsAre("second:v1", "HandedOver");
    await phaseIs("second:v1", "Ready");
    await admin.delete(SECRETS, { namespace: "shop", name: "pull" });
    await secretsAre("second:v1", "NotFound");
    // What was lent was taken back; what is cached stays.
    await eventually(async () => expect((await pull("second/manifests/v2")).status).toBe(404));
    expect((await pull("second/manifests/v1")).status).toBe(200);
  });

  it("can be pulled again soon after the registry was restarted, which forgot the credentials", async () => {
    await putSecret("shop");
    start();
    await admin.create(PODS, privatePod("shop", "restarted:v1"));
    await phaseIs("restarted:v1", "Ready");
    await cache.stop();
    await cache.start();
    await eventually(async () => expect((await pull("restarted/manifests/v2")).status).toBe(200));
  });
});

describe("Secrets elsewhere", () => {
  it("are not read, also when the pod or its record names them", async () => {
    await putSecret("other");
    start();
    await admin.create(PODS, privatePod("other", "skipped:v1"));
    const { status, spec } = await phaseIs("skipped:v1", "Failed");
    expect(findCondition(status?.conditions, "PullSecrets")).toBeUndefined();
    expect(spec.pullSecrets).toBeUndefined();
    const pullSecrets = [{ namespace: "other", name: "pull" }];
    const declared = cachedImage("declared", { sourceImage: reference("declared:v1"), retain: true, pullSecrets });
    await admin.create(CACHED_IMAGES, declared);
    await eventually(async () => {
      const record = await admin.get(CACHED_IMAGES, { name: "declared" });
      expect(findCondition(record.status?.conditions, "PullSecrets")?.reason).toBe("NotAllowed");
      expect(record.status?.phase).toBe("Failed");
    });
    expect((await pull("skipped/manifests/v1")).status).toBe(404);
  });

  it("are said to be out of reach where the list names a namespace without the right to read there", async () => {
    await putSecret("other");
    start(new Set(["other"]));
    await admin.create(PODS, privatePod("other", "skipped:v2"));
    const { status } = await secretsAre("skipped:v2", "Forbidden");
    expect(findCondition(status?.conditions, "PullSecrets")?.message).toContain("a Role in its namespace is missing");
  });
});
