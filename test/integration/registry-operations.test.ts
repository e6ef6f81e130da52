import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { metricOf } from "../support/metrics-text.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Image, makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
const NAME = `${UPSTREAM_NAME}/ops/app`;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let image: Image;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  registry = await startRegistryProcess({ ...upstream.configuration({ tagTtl: "0s" }), log: { access: true } });
  api = createRegistryApi(registry.url);
  image = makeImage([1 * MiB]);
  await upstream.api.pushImage("ops/app", "v1", image);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
});
beforeEach(() => upstream.proxy.throttle(undefined));

async function metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const text = await (await fetch(`${registry.management}/metrics`)).text();
  return metricOf(text, `cache_registry_${name}`, labels) ?? 0;
}

/** A fetch is over for its clients a moment before it is for the store. */
const committed = () => eventually(async () => expect(await metric("blob_fetches")).toBe(0));

type Line = { msg: string; method: string; path: string; status: number; outcome?: string; bytes: number };

/** Access log lines of a path, oldest first. */
function linesOf(path: string): Line[] {
  const lines = registry
    .output()
    .split("\n")
    .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));
  return lines.filter((line) => line.msg === "request" && line.path === path);
}

const outcomesOf = (path: string) => linesOf(path).map(({ method, outcome }) => `${method} ${outcome}`);

describe("the access log", () => {
  it("has one line per request, with how a pull was answered", async () => {
    const manifest = `/v2/${NAME}/manifests/v1`;
    await api.request("GET", manifest).then((response) => response.arrayBuffer());
    await upstream.proxy.off();
    await api.request("GET", manifest).then((response) => response.arrayBuffer());
    await upstream.proxy.on();
    await eventually(() => expect(outcomesOf(manifest)).toEqual(["GET miss", "GET stale"]));
    const byDigest = `/v2/${NAME}/manifests/${image.manifest.digest}`;
    await api.request("HEAD", byDigest);
    await eventually(() => expect(outcomesOf(byDigest)).toEqual(["HEAD hit"]));
    await api.request("GET", "/v2/");
    await eventually(() => expect(linesOf("/v2/")).toMatchObject([{ method: "GET", status: 200 }]));
    expect(linesOf("/v2/")[0]).not.toHaveProperty("outcome");
  });

  it("tells who fetched from who joined", async () => {
    const blob = randomBlob(8 * MiB);
    await upstream.api.pushBlob("ops/app", blob);
    upstream.proxy.throttle(8 * MiB);
    const path = `/v2/${NAME}/blobs/${blob.digest}`;
    const first = download(`${registry.url}${path}`);
    await eventually(async () => expect(await metric("blob_waiters")).toBe(1));
    const second = download(`${registry.url}${path}`);
    await eventually(async () => expect(await metric("blob_waiters")).toBe(2));
    expect(await metric("blob_fetches")).toBe(1);
    expect([(await first).digest, (await second).digest]).toEqual([blob.digest, blob.digest]);
    await committed();
    await download(`${registry.url}${path}`);
    await eventually(() => expect(outcomesOf(path).sort()).toEqual(["GET hit", "GET joined", "GET miss"]));
    await eventually(async () => expect(await metric("blob_waiters")).toBe(0));
  });
});

describe("/metrics", () => {
  it("counts pulls by upstream and outcome, bytes by source, and what a resumed read was spared", async () => {
    const blob = randomBlob(4 * MiB);
    await upstream.api.pushBlob("ops/app", blob);
    const url = `${registry.url}/v2/${NAME}/blobs/${blob.digest}`;
    const labels = { upstream: UPSTREAM_NAME };
    const before = {
      misses: await metric("pulls_total", { ...labels, kind: "blob", outcome: "miss" }),
      hits: await metric("pulls_total", { ...labels, kind: "blob", outcome: "hit" }),
      fetched: await metric("served_bytes_total", { ...labels, source: "fetch" }),
      stored: await metric("served_bytes_total", { ...labels, source: "store" }),
      resumed: await metric("upstream_resumed_bytes_total", labels),
    };
    upstream.proxy.cutOnce({ pathMatch: new RegExp(blob.digest), afterBytes: 3 * MiB });
    for (let pulls = 0; pulls < 3; pulls += 1) {
      expect((await download(url)).digest).toBe(blob.digest);
      await committed();
    }
    await eventually(async () => {
      expect(await metric("pulls_total", { ...labels, kind: "blob", outcome: "miss" })).toBe(before.misses + 1);
      expect(await metric("pulls_total", { ...labels, kind: "blob", outcome: "hit" })).toBe(before.hits + 2);
      const stored = await metric("served_bytes_total", { ...labels, source: "store" });
      const fetched = await metric("served_bytes_total", { ...labels, source: "fetch" });
      expect([fetched - before.fetched, stored - before.stored]).toEqual([4 * MiB, 8 * MiB]);
    });
    const resumed = (await metric("upstream_resumed_bytes_total", labels)) - before.resumed;
    expect(resumed).toBeGreaterThan(2 * MiB);
    expect(resumed).toBeLessThanOrEqual(3 * MiB);
    expect(await metric("first_byte_seconds_count", { kind: "blob", outcome: "hit" })).toBeGreaterThanOrEqual(2);
    expect(await metric("http_requests_total", { server: "registry", status: "200" })).toBeGreaterThanOrEqual(3);
  });

  it("shows uploads that are under way", async () => {
    const begun = await api.request("POST", "ops/push/blobs/uploads/");
    const rest = Promise.withResolvers<void>();
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new Uint8Array(1_000));
        await rest.promise;
        controller.close();
      },
    });
    const sending = api.request("PATCH", begun.headers.get("location") ?? "", { body });
    await eventually(async () => expect(await metric("uploads_in_progress")).toBe(1));
    rest.resolve();
    expect((await sending).status).toBe(202);
    expect(await metric("uploads_in_progress")).toBe(0);
  });
});

it("docs/operations.md names metrics that there are", async () => {
  const text = await readFile(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const named = new Set(text.match(/cache_registry_[a-z_]+/g));
  expect(named.size).toBeGreaterThan(20);
  // This one serves no HTTPS: packages/runtime/src/certificate.test.ts sees the metric of one that does.
  named.delete("cache_registry_certificate_not_after_seconds");
  const metrics = await (await fetch(`${registry.management}/metrics`)).text();
  expect([...named].filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([]);
});

describe("/readyz", () => {
  it("names the store that is gone, and recovers with it", async () => {
    const verbose = async () => {
      const answer = await fetch(`${registry.management}/readyz?verbose`);
      return { status: answer.status, text: await answer.text() };
    };
    const whole = await verbose();
    expect(whole.status).toBe(200);
    for (const name of ["process", "blob store", "metadata store"]) expect(whole.text).toContain(`[+] ${name}: ok`);
    const folder = join(registry.data, "blobs");
    await rename(folder, `${folder}.away`);
    try {
      await eventually(async () => {
        const { status, text } = await verbose();
        expect(text).toMatch(/\[-\] blob store: .*blobs/);
        expect(status).toBe(503);
      });
    } finally {
      await rename(`${folder}.away`, folder);
    }
    await eventually(async () => expect((await verbose()).status).toBe(200));
  });

  it("tells of an upstream that does not answer, without being unready, and so does the log", async () => {
    const readyz = async () => {
      const answer = await fetch(`${registry.management}/readyz?verbose`);
      return `${answer.status} ${(await answer.text()).split("\n").find((line) => line.includes(UPSTREAM_NAME))}`;
    };
    const manifest = `/v2/${NAME}/manifests/v1`;
    await upstream.proxy.off();
    await api.request("GET", manifest).then((response) => response.arrayBuffer());
    expect(await readyz()).toMatch(
      new RegExp(`^200 \\[!\\] upstream ${UPSTREAM_NAME}: not answering since \\d{4}-.*Z: \\w`),
    );
    await upstream.proxy.on();
    await eventually(async () => {
      await api.request("GET", manifest).then((response) => response.arrayBuffer());
      expect(await readyz()).toBe(`200 [+] upstream ${UPSTREAM_NAME}: ok`);
    });
    expect(registry.output()).toContain('"msg":"upstream: not answering"');
    expect(registry.output()).toContain('"msg":"upstream works again"');
  });
});
