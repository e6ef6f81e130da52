import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type FakeRegistry, type Script, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { answering, serving } from "../support/scripts.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";

let upstream: FakeRegistry;
let spare: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

/** Nobody is there, RFC 5737; connecting times out, or the network says so. */
const NOWHERE = "http://192.0.2.1:9";
const NAMES = Array.from({ length: 10 }, (_, index) => `up-${index}`);

beforeAll(async () => {
  upstream = await startFakeRegistry();
  spare = await startFakeRegistry();
  const timeouts = { connect: "600ms", headers: "1s", idle: "1s" };
  const entry = (name: string, more: object = {}) => ({
    registry: `${name}.example.com`,
    endpoints: [upstream.url],
    paths: [name],
    tagTtl: "0s",
    timeouts,
    ...more,
  });
  registry = await startRegistryProcess({
    upstreams: [
      ...NAMES.map((name) => entry(name)),
      entry("slow", { rate: 20, timeouts: { ...timeouts, headers: "20s" } }),
      entry("dead", { endpoints: [NOWHERE] }),
      ...["both", "pair"].map((name) => entry(name, { endpoints: [upstream.url, spare.url] })),
    ],
    upstreamPolicy: "listed",
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.close();
  await spare?.close();
});
beforeEach(() => {
  for (const fake of [upstream, spare]) {
    fake.requests.length = 0;
    fake.answer(answering(404));
  }
});

const metrics = async () => (await fetch(`${registry.management}/metrics`)).text();
const put = (reference: string) =>
  fetch(`${registry.management}/api/v1/images/${encodeURIComponent(reference)}`, { method: "PUT" });
const stateOf = async (reference: string) =>
  (await (await fetch(`${registry.management}/api/v1/images/${encodeURIComponent(reference)}`)).json()) as {
    state: string;
    error?: string;
  };

describe("an upstream that says 429", () => {
  it.each<[string, string, () => string]>([
    ["up-0", "seconds", () => "3"],
    ["up-1", "a date", () => new Date(Date.now() + 4_000).toUTCString()],
  ])("(%s) is asked nothing more until the time it gave in %s, and then again", async (name, _form, retryAfter) => {
    upstream.answer(answering(429, { "retry-after": retryAfter(), "content-type": "text/plain" }));
    const first = await api.request("GET", `${name}/app/manifests/v1`);
    expect([first.status, (await errorOf(first)).code]).toEqual([429, "TOOMANYREQUESTS"]);
    upstream.answer(serving(makeImage()));
    const others = [
      ["GET", `${name}/other/manifests/v2`],
      ["HEAD", `${name}/app/manifests/v1`],
      ["GET", `${name}/app/blobs/${randomBlob(1).digest}`],
      ["HEAD", `${name}/app/blobs/${randomBlob(1).digest}`],
    ] as const;
    for (const [method, path] of others) {
      const response = await api.request(method, path);
      expect(response.status).toBe(429);
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      expect(Number(response.headers.get("retry-after"))).toBeLessThanOrEqual(4);
    }
    expect(upstream.requests).toHaveLength(1);
    expect(await metrics()).toMatch(
      new RegExp(`upstream_paused_seconds{upstream="${name}.example.com",reason="rate-limit"} [0-9.]+`),
    );
    await eventually(async () => expect((await api.request("GET", `${name}/app/manifests/v1`)).status).toBe(200));
    expect(await metrics()).not.toContain(`upstream_paused_seconds{upstream="${name}.example.com"`);
  });

  it("does not keep what is held from anybody", async () => {
    const image = makeImage();
    upstream.answer(serving(image));
    await api.get("up-2/app/manifests/v1");
    upstream.answer(answering(429, { "retry-after": "60" }));
    for (let time = 0; time < 3; time += 1) {
      const response = await api.request("GET", "up-2/app/manifests/v1");
      expect([response.status, response.headers.get("warning")]).toEqual([
        200,
        expect.stringContaining("rate-limited"),
      ]);
    }
    expect(upstream.requests.filter((line) => line.startsWith("HEAD"))).toHaveLength(1);
  });

  it("does not matter to other upstreams, and another endpoint is asked instead", async () => {
    upstream.answer(answering(429, { "retry-after": "60" }));
    spare.answer(serving(makeImage()));
    expect((await api.request("GET", "both/app/manifests/v1")).status).toBe(200);
    expect((await api.request("GET", "both/more/manifests/v1")).status).toBe(200);
    expect([upstream.requests.length, spare.requests.length]).toEqual([1, 2]);
    upstream.answer(serving(makeImage()));
    expect((await api.request("GET", "up-3/app/manifests/v1")).status).toBe(200);
  });

  it("makes warm-ups wait, not fail", async () => {
    upstream.answer(answering(429, { "retry-after": "2" }));
    await api.request("GET", "up-4/app/manifests/v1");
    upstream.answer(serving(makeImage()));
    const reference = "up-4.example.com/app:v2";
    await put(reference);
    await eventually(async () =>
      expect(await stateOf(reference)).toMatchObject({ state: "pending", error: "up-4.example.com says 429" }),
    );
    expect(await metrics()).toContain('warmups_paused{upstream="up-4.example.com"} 1');
    await eventually(async () => expect((await stateOf(reference)).state).toBe("ready"));
  });
});

describe("an upstream that tells what is left", () => {
  const granting =
    (remaining: number, script: Script): Script =>
    (request, response) => {
      response.setHeader("ratelimit-limit", "100;w=21600");
      response.setHeader("ratelimit-remaining", `${remaining};w=21600`);
      script(request, response);
    };

  it("has it in the metrics, and warm-ups wait while it is little, but pulls do not", async () => {
    upstream.answer(granting(10, serving(makeImage())));
    expect((await api.request("GET", "up-5/app/manifests/v1")).status).toBe(200);
    expect(await metrics()).toContain('upstream_ratelimit_limit{upstream="up-5.example.com"} 100');
    expect(await metrics()).toContain('upstream_ratelimit_remaining{upstream="up-5.example.com"} 10');
    const reference = "up-5.example.com/app:warm";
    await put(reference);
    await eventually(async () =>
      expect(await stateOf(reference)).toMatchObject({
        state: "pending",
        error: "up-5.example.com grants only 10 of 100 more pulls, which are kept for pods",
      }),
    );
    expect(await metrics()).toContain('warmups_paused{upstream="up-5.example.com"} 1');
    expect(upstream.requests).toHaveLength(1);
    upstream.answer(granting(90, serving(makeImage())));
    expect((await api.request("GET", "up-5/app/manifests/v2")).status).toBe(200);
    await eventually(async () => expect((await stateOf(reference)).state).toBe("ready"));
    expect(await metrics()).not.toContain("warmups_paused{");
  });
});

describe("rate", () => {
  it("is what an upstream gets at most, and everything is answered", async () => {
    upstream.answer(serving(makeImage()));
    const started = performance.now();
    const asked = Array.from({ length: 60 }, (_, index) => api.request("GET", `slow/app/manifests/v${index}`));
    for (const response of await Promise.all(asked)) expect(response.status).toBe(200);
    // 20 at once, 40 at 20 per second; some of the later need a second request.
    expect(performance.now() - started).toBeGreaterThan(1_800);
    expect(await metrics()).toMatch(/upstream_rate_waited_seconds_total{upstream="slow.example.com"} [1-9]/);
  });
});

describe("an upstream that fails", () => {
  it("makes one request wait for its connect time-out, not each", async () => {
    const first = await api.request("GET", "dead/app/manifests/v1");
    expect(first.status).toBeGreaterThanOrEqual(502);
    const started = performance.now();
    for (let time = 0; time < 10; time += 1) {
      const response = await api.request("GET", `dead/app-${time}/manifests/v1`);
      expect([502, 504]).toContain(response.status);
    }
    // One of them may have been the trial.
    expect(performance.now() - started).toBeLessThan(2_500);
    expect(await metrics()).toMatch(/upstream_refrained_total{upstream="dead.example.com",kind="\w+"} ([89]|1\d)\n/);
  });

  it("with 500 for every blob is asked no more for a moment, and again soon", async () => {
    upstream.answer(answering(500));
    const ask = () => api.request("GET", `up-6/app/blobs/${randomBlob(10).digest}`);
    for (let time = 0; time < 30; time += 1) expect((await ask()).status).toBe(502);
    expect(upstream.requests.length).toBeLessThan(15);
    const image = makeImage();
    upstream.answer(serving(image));
    const digest = image.blobs[0]?.digest;
    await eventually(async () => expect((await api.request("GET", `up-6/app/blobs/${digest}`)).status).toBe(200));
  });

  it("in its first endpoint only is not noticed, nor when that one comes back", async () => {
    spare.answer(serving(makeImage()));
    upstream.answer((request) => void request.socket.destroy());
    for (let time = 0; time < 8; time += 1) {
      expect((await api.request("GET", `pair/again-${time}/manifests/v1`)).status).toBe(200);
    }
    upstream.answer(serving(makeImage()));
    await eventually(async () => {
      upstream.requests.length = 0;
      expect((await api.request("GET", `pair/back/manifests/v${Date.now()}`)).status).toBe(200);
      expect(upstream.requests).toHaveLength(1);
    });
  });
});
