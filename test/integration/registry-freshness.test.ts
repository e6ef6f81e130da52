import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type FakeRegistry, type Script, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { answering, serving } from "../support/scripts.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";

let upstream: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startFakeRegistry();
  const tags = [
    { match: "^always-", ttl: "0s" },
    { match: "^stable-", freeze: true },
    { match: "^always-stable-", ttl: "1h" },
  ];
  const names = ["up", "impatient", ...Array.from({ length: 9 }, (_, index) => `stale-${index}`)];
  registry = await startRegistryProcess({
    upstreams: names.map((name) => ({
      registry: `${name}.example.com`,
      endpoints: [upstream.url],
      paths: [name],
      tagTtl: name === "up" ? "1h" : "0s",
      timeouts: { connect: "500ms", headers: "500ms", idle: "500ms" },
      tags,
    })),
    upstreamPolicy: "listed",
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.close();
});
beforeEach(() => {
  upstream.requests.length = 0;
});

let counter = 0;
const repository = (name = "up") => `${name}/app-${++counter}`;
const digestOf = async (path: string) =>
  (await api.request("HEAD", path)).headers.get("docker-content-digest") ?? undefined;
const methods = () => upstream.requests.map((line) => line.split(" ")[0]);

async function putImage(reference: string, wish: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${registry.management}/api/v1/images/${encodeURIComponent(reference)}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(wish),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const getImage = async (reference: string) =>
  (await (await fetch(`${registry.management}/api/v1/images/${encodeURIComponent(reference)}`)).json()) as object;

describe("a tag", () => {
  it("younger than tagTtl costs no request", async () => {
    const path = `${repository()}/manifests/v1`;
    upstream.answer(serving(makeImage()));
    for (let time = 0; time < 3; time += 1) await api.get(path);
    expect(methods()).toEqual(["GET"]);
  });

  it("older than its ttl costs one HEAD as long as it names the same, and a GET when it moved", async () => {
    const [old, moved] = [makeImage(), makeImage()];
    const path = `${repository()}/manifests/always-1`;
    upstream.answer(serving(old));
    for (let time = 0; time < 3; time += 1) expect(await digestOf(path)).toBe(old.manifest.digest);
    expect(methods()).toEqual(["GET", "HEAD", "HEAD"]);
    upstream.answer(serving(moved));
    expect(await digestOf(path)).toBe(moved.manifest.digest);
    expect(methods().slice(3)).toEqual(["HEAD", "GET"]);
    // The digest is asked for, so that what was answered is what is kept.
    expect(upstream.requests.at(-1)).toContain(moved.manifest.digest);
  });

  it("frozen by configuration is never asked for again, and the first rule that matches counts", async () => {
    const [old, moved] = [makeImage(), makeImage()];
    const name = repository("impatient");
    upstream.answer(serving(old));
    for (const tag of ["stable-1", "always-stable-1"]) await api.get(`${name}/manifests/${tag}`);
    upstream.answer(serving(moved));
    expect(await digestOf(`${name}/manifests/stable-1`)).toBe(old.manifest.digest);
    expect(await digestOf(`${name}/manifests/always-stable-1`)).toBe(moved.manifest.digest);
    upstream.answer(answering(500));
    const frozen = await api.request("GET", `${name}/manifests/stable-1`);
    expect([frozen.status, frozen.headers.get("warning")]).toEqual([200, null]);
  });

  it("is followed also where HEAD is not allowed, or does not tell the digest", async () => {
    const [old, moved] = [makeImage(), makeImage()];
    const path = `${repository()}/manifests/always-1`;
    const without =
      (script: Script): Script =>
      (request, response) => {
        if (request.method === "HEAD") return void response.writeHead(405).end();
        script(request, response);
      };
    const silent: Script = ({ method }, response) => {
      response.writeHead(200, { "content-type": old.manifest.mediaType });
      response.end(method === "HEAD" ? undefined : old.manifest.bytes);
    };
    upstream.answer(without(serving(old)));
    await api.get(path);
    upstream.answer(without(serving(moved)));
    expect(await digestOf(path)).toBe(moved.manifest.digest);
    upstream.answer(silent);
    expect(await digestOf(path)).toBe(old.manifest.digest);
    expect(methods()).toEqual(["GET", "HEAD", "GET", "HEAD", "GET"]);
  });
});

describe("a tag that is held, of an upstream that", () => {
  const cases: [what: string, kind: string, script: Script][] = [
    ["says 404", "not-found", answering(404)],
    ["says 401", "unauthorized", answering(401)],
    ["says 403", "unauthorized", answering(403)],
    ["says 429 in plain text", "rate-limited", answering(429, { "content-type": "text/plain" })],
    ["says 500", "server", answering(500)],
    ["says 503 with Retry-After", "server", answering(503, { "retry-after": "5" })],
    ["does not answer", "timeout", () => undefined],
    ["cuts connections", "unreachable", (request) => void request.socket.destroy()],
    [
      "redirects in circles",
      "invalid",
      ({ url = "" }, response) => void response.writeHead(307, { location: url }).end(),
    ],
  ];
  it.each(
    cases.map((entry, index) => [...entry, index] as const),
  )("%s is served stale with the reason, at once the second time", async (_what, kind, script, index) => {
    const image = makeImage();
    const path = `${repository(`stale-${index}`)}/manifests/v1`;
    upstream.answer(serving(image));
    await api.get(path);
    upstream.answer(script);
    const times: number[] = [];
    for (let time = 0; time < 2; time += 1) {
      const started = performance.now();
      const response = await api.request("GET", path);
      times.push(performance.now() - started);
      expect([response.status, response.headers.get("warning")]).toEqual([200, expect.stringContaining(`(${kind})`)]);
    }
    expect(times[1]).toBeLessThan(400);
  });
});

describe("what is not held", () => {
  it("and was not found is asked for again within ten seconds, not at once", async () => {
    const path = `${repository()}/manifests/v1`;
    upstream.answer(answering(404));
    for (let time = 0; time < 5; time += 1) expect((await api.request("GET", path)).status).toBe(404);
    expect(upstream.requests).toHaveLength(1);
    upstream.answer(serving(makeImage()));
    await eventually(async () => expect((await api.request("GET", path)).status).toBe(200), 15_000);
  });
});

describe("PUT /api/v1/images/<reference> with refresh", () => {
  it("asks upstream at once for a tag that is fresh or frozen, and warms what it names now", async () => {
    const [old, moved] = [makeImage(), makeImage()];
    for (const tag of ["v1", "stable-1"]) {
      const name = repository();
      const reference = `up.example.com/${name.split("/")[1]}:${tag}`;
      upstream.answer(serving(old));
      await api.get(`${name}/manifests/${tag}`);
      upstream.answer(serving(moved));
      const { status, body } = await putImage(reference, { refresh: true });
      expect([status, body.digest]).toEqual([202, moved.manifest.digest]);
      expect(await digestOf(`${name}/manifests/${tag}`)).toBe(moved.manifest.digest);
      await eventually(async () => expect(await getImage(reference)).toMatchObject({ state: "ready", progress: 100 }));
      const listed = await (await fetch(`${registry.management}/api/v1/images`)).text();
      expect(listed).not.toContain(reference);
      await putImage(reference, { refresh: true, owner: "me" });
      expect(await (await fetch(`${registry.management}/api/v1/images?owner=me`)).text()).toContain(reference);
    }
  });

  it("asks although it was refused a moment ago, and fetches what is not held", async () => {
    const name = repository();
    upstream.answer(answering(404));
    expect((await api.request("GET", `${name}/manifests/v1`)).status).toBe(404);
    upstream.answer(serving(makeImage()));
    expect((await putImage(`up.example.com/${name.split("/")[1]}:v1`, { refresh: true })).status).toBe(202);
    expect((await api.request("GET", `${name}/manifests/v1`)).status).toBe(200);
  });

  it("says what went wrong, and the tag is stale until the upstream confirms it", async () => {
    const name = repository();
    const reference = `up.example.com/${name.split("/")[1]}:v1`;
    const image = makeImage();
    upstream.answer(serving(image));
    await api.get(`${name}/manifests/v1`);
    for (const { digest } of image.blobs) await api.get(`${name}/blobs/${digest}`);
    await eventually(async () => expect(await getImage(reference)).toMatchObject({ state: "ready" }));
    upstream.answer(answering(500));
    expect(await putImage(reference, { refresh: true })).toMatchObject({
      status: 502,
      body: { errors: [{ code: "UPSTREAM_FAILED" }] },
    });
    expect(await getImage(reference)).toMatchObject({ state: "stale" });
    expect((await api.request("GET", `${name}/manifests/v1`)).headers.get("warning")).toContain("(server)");
    expect((await putImage("up.example.com/none:v1", { refresh: "soon" })).status).toBe(400);
    const unlisted = await putImage(`other.example.com/a@${randomBlob(1).digest}`, { refresh: true });
    expect(unlisted).toMatchObject({ status: 404, body: { errors: [{ code: "NAME_UNKNOWN" }] } });
  });
});
