import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { download, downloadTogether } from "../support/download.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, makeImage, makeIndex, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  registry = await startRegistryProcess(upstream.configuration({ hosts: ["mirror.example.com"] }));
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
});
beforeEach(() => {
  upstream.proxy.throttle(undefined);
  upstream.proxy.reset();
});

async function coldBlob(size: number): Promise<{ blob: Blob; url: string; path: string }> {
  const blob = randomBlob(size);
  await upstream.api.pushBlob("cold/blobs", blob);
  upstream.proxy.reset();
  const path = `${UPSTREAM_NAME}/cold/blobs/blobs/${blob.digest}`;
  return { blob, path, url: `${registry.url}/v2/${path}` };
}

const gets = (digest: string) => upstream.requests(new RegExp(`^GET .*/blobs/${digest}$`));

describe("20 clients that want one cold blob", () => {
  it("cause one upstream GET, and the last is done within 1.5 times of one client alone", { retry: 1 }, async () => {
    const { blob, url } = await coldBlob(64 * MiB);
    upstream.proxy.throttle(50e6);
    const expected = blob.bytes;
    const direct = `${upstream.proxy.url}/v2/cold/blobs/blobs/${blob.digest}`;
    const [alone] = await downloadTogether(direct, 1, expected);
    if (!alone) throw new Error("no download");
    expect(alone).toMatchObject({ size: expected.length, asExpected: true });
    upstream.proxy.reset();

    const clients = await downloadTogether(url, 20, expected);
    expect(gets(blob.digest)).toBe(1);
    for (const { status, size, asExpected } of clients) {
      expect([status, size, asExpected]).toEqual([200, expected.length, true]);
    }
    const last = Math.max(...clients.map(({ lastByte }) => lastByte));
    const first = Math.max(...clients.map(({ firstByte }) => firstByte));
    console.info(
      `alone ${Math.round(alone.lastByte)} ms; 20 at once: last done ${Math.round(last)} ms (× ${(last / alone.lastByte).toFixed(2)}), slowest first byte ${Math.round(first)} ms`,
    );
    expect(last / alone.lastByte).toBeLessThan(1.5);
    expect(first).toBeLessThan(1_000);
  });

  it("are not disturbed when the first leaves midway", async () => {
    const { blob, url } = await coldBlob(16 * MiB);
    upstream.proxy.throttle(16e6);
    const leaver = download(url, { leaveAfter: 2 * MiB });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const others = Promise.all([1, 2, 3].map(() => download(url)));
    expect((await leaver).size).toBeLessThan(8 * MiB);
    for (const { digest, cut } of await others) expect([digest, cut]).toEqual([blob.digest, false]);
    expect(gets(blob.digest)).toBe(1);
  });

  it("do not wait for a slow one", async () => {
    const { blob, url } = await coldBlob(8 * MiB);
    const slow = download(url, { pace: 2e6 });
    const fast = await download(url);
    expect(fast.digest).toBe(blob.digest);
    expect(fast.lastByte).toBeLessThan(2_000);
    expect((await slow).digest).toBe(blob.digest);
    expect(gets(blob.digest)).toBe(1);
  });
});

describe("a cold blob", () => {
  it("goes on being fetched when its only client left, and is then held", async () => {
    const { blob, url } = await coldBlob(8 * MiB);
    upstream.proxy.throttle(20e6);
    await download(url, { leaveAfter: MiB });
    const again = await download(url);
    expect([again.digest, gets(blob.digest)]).toEqual([blob.digest, 1]);
    await expect
      .poll(async () => (await api.request("HEAD", new URL(url).pathname)).headers.get("cache-status"))
      .toBe("cache-registry; hit");
  });

  it("reaches the client as it arrives, not when it is whole", async () => {
    const { url } = await coldBlob(16 * MiB);
    upstream.proxy.throttle(8e6);
    const { firstByte, lastByte } = await download(url);
    expect(firstByte).toBeLessThan(700);
    expect(lastByte).toBeGreaterThan(1_500);
  });

  it("is resumed unnoticed when the upstream breaks midway", async () => {
    const { blob, url } = await coldBlob(16 * MiB);
    upstream.proxy.throttle(40e6);
    upstream.proxy.cutOnce({ pathMatch: new RegExp(blob.digest), afterBytes: 5 * MiB });
    const clients = await Promise.all([1, 2, 3].map(() => download(url)));
    for (const { digest, cut } of clients) expect([digest, cut]).toEqual([blob.digest, false]);
    expect(gets(blob.digest)).toBe(2);
    // The resumed read asks for the rest only.
    const { bytes } = upstream.proxy.counts()[`GET /v2/cold/blobs/blobs/${blob.digest}`] ?? { bytes: 0 };
    expect(bytes).toBeLessThan(17 * MiB);
  });

  it("survives an upstream that is away for a moment", async () => {
    const { blob, url } = await coldBlob(8 * MiB);
    upstream.proxy.throttle(4e6);
    const client = download(url);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await upstream.proxy.off();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    upstream.proxy.throttle(undefined);
    await upstream.proxy.on();
    expect(await client).toMatchObject({ digest: blob.digest, cut: false });
  });

  it("answers ranges", async () => {
    const { blob, path } = await coldBlob(4 * MiB);
    const end = blob.bytes.length - 1;
    const cases = [
      { range: "bytes=0-", from: 0, to: end },
      { range: `bytes=${MiB}-${2 * MiB}`, from: MiB, to: 2 * MiB },
      { range: "bytes=-100", from: end - 99, to: end },
    ];
    upstream.proxy.throttle(8e6);
    await Promise.all(
      cases.map(async ({ range, from, to }) => {
        const response = await api.request("GET", path, { headers: { range } });
        expect([response.status, response.headers.get("content-range")]).toEqual([
          206,
          `bytes ${from}-${to}/${end + 1}`,
        ]);
        expect(Buffer.from(await response.arrayBuffer()).equals(blob.bytes.subarray(from, to + 1))).toBe(true);
      }),
    );
    expect(gets(blob.digest)).toBe(1);
  });

  it("asked for with HEAD is not downloaded", async () => {
    const { blob, path } = await coldBlob(4 * MiB);
    const head = await api.request("HEAD", path);
    expect(head.status).toBe(200);
    expect(head.headers.get("content-length")).toBe(String(blob.bytes.length));
    expect(head.headers.get("docker-content-digest")).toBe(blob.digest);
    expect(gets(blob.digest)).toBe(0);
  });

  it("is not served to a repository for which its upstream does not vouch", async () => {
    const { blob, path } = await coldBlob(100_000);
    expect(await api.get(path)).toEqual(blob.bytes);
    const elsewhere = `${UPSTREAM_NAME}/cold/other/blobs/${blob.digest}`;
    expect((await api.request("GET", elsewhere)).status).toBe(404);
    expect((await api.request("HEAD", elsewhere)).status).toBe(404);
    expect((await api.request("GET", `local/repository/blobs/${blob.digest}`)).status).toBe(404);
    // Once it is there too, the bytes are not fetched again.
    await upstream.api.pushBlob("cold/other", blob);
    expect(await api.get(elsewhere)).toEqual(blob.bytes);
    expect(gets(blob.digest)).toBe(1);
  });
});

it("pulls an index through by path, ?ns=, alias and host, while pushes go on", async () => {
  const index = makeIndex({ amd64: makeImage([200_000]), arm64: makeImage([100_000]) });
  await upstream.api.pushImage("team/app", "v1", index);
  upstream.proxy.reset();
  const local = makeImage([300_000]);
  const pushing = api.pushImage("team/app", "v1", local);

  const digest = index.manifest.digest;
  for (const path of [`${UPSTREAM_NAME}/team/app`, "up/team/app"]) {
    expect((await api.request("GET", `${path}/manifests/v1`)).headers.get("docker-content-digest")).toBe(digest);
  }
  const byNamespace = await api.request("GET", `team/app/manifests/v1?ns=${UPSTREAM_NAME}`);
  expect(byNamespace.headers.get("docker-content-digest")).toBe(digest);
  expect(byNamespace.headers.get("oci-namespace")).toBe(UPSTREAM_NAME);
  const url = `${registry.url}/v2/team/app/manifests/v1`;
  const byHost = await download(url, { headers: { host: "mirror.example.com" } });
  expect(byHost.headers["docker-content-digest"]).toBe(digest);
  for (const { manifest, blobs } of index.images) {
    expect(await api.get(`team/app/manifests/${manifest.digest}?ns=${UPSTREAM_NAME}`)).toEqual(manifest.bytes);
    for (const blob of blobs) expect(await api.get(`up/team/app/blobs/${blob.digest}`)).toEqual(blob.bytes);
  }
  await pushing;
  expect(await api.get("team/app/manifests/v1")).toEqual(local.manifest.bytes);
  expect(upstream.fetchedTwice()).toEqual([]);
});
