import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { type FakeRegistry, type Script, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { answering, serving } from "../support/scripts.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";

const UPSTREAMS = 60;
let upstream: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startFakeRegistry();
  const timeouts = { connect: "500ms", headers: "700ms", idle: "700ms" };
  registry = await startRegistryProcess({
    upstreams: Array.from({ length: UPSTREAMS }, (_, index) => ({
      registry: `fake-${index}.example.com`,
      endpoints: [upstream.url],
      paths: [`fake-${index}`],
      tagTtl: "0s",
      timeouts,
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
/** A repository of an upstream of its own for each case: what fails or limits us is left alone for some seconds. */
const repository = () => `fake-${counter++ % UPSTREAMS}/app-${counter}`;

describe("an upstream that fails, asked for what is not held", () => {
  const cases: [what: string, script: Script, status: number, code: string][] = [
    ["says 404", answering(404), 404, "MANIFEST_UNKNOWN"],
    ["says 401 without a challenge", answering(401), 404, "MANIFEST_UNKNOWN"],
    ["says 403", answering(403), 404, "MANIFEST_UNKNOWN"],
    ["says 429", answering(429, { "retry-after": "7" }), 429, "TOOMANYREQUESTS"],
    ["says 500", answering(500), 502, "UPSTREAM_FAILED"],
    ["says 503", answering(503), 502, "UPSTREAM_FAILED"],
    ["never answers", () => undefined, 504, "UPSTREAM_FAILED"],
    ["cuts every connection", (request) => void request.socket.destroy(), 502, "UPSTREAM_FAILED"],
    [
      "sends a web page",
      (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>log in</html>"),
      502,
      "UPSTREAM_FAILED",
    ],
    [
      "sends a web page that claims to be a manifest",
      (_request, response) =>
        void response
          .writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" })
          .end("<html>log in</html>"),
      502,
      "UPSTREAM_FAILED",
    ],
    [
      "sends JSON that is no manifest",
      (_request, response) => void response.writeHead(200, { "content-type": "application/json" }).end("{}"),
      502,
      "UPSTREAM_FAILED",
    ],
    [
      "sends another manifest than its digest says",
      (_request, response) =>
        void response
          .writeHead(200, { "docker-content-digest": randomBlob(1).digest })
          .end(makeImage([]).manifest.bytes),
      502,
      "UPSTREAM_FAILED",
    ],
    [
      "sends a manifest without end",
      (_request, response) => {
        response.writeHead(200);
        const write = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536, " ")));
          if (!response.destroyed) response.once("drain", write);
        };
        write();
      },
      502,
      "UPSTREAM_FAILED",
    ],
  ];
  it.each(cases)("%s", async (_what, script, expected, code) => {
    upstream.answer(script);
    const path = `${repository()}/manifests/v1`;
    const started = performance.now();
    const response = await api.request("GET", path);
    expect([response.status, (await errorOf(response)).code]).toEqual([expected, code]);
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(response.headers.get("retry-after")).toBe(expected === 429 ? "7" : null);
    // Remembered briefly: asked again at once, it does not bother the upstream.
    const asked = upstream.requests.length;
    expect((await api.request("HEAD", path)).status).toBe(expected);
    expect(upstream.requests).toHaveLength(asked);
  });

  it("refuses a registry that nobody listed without dialling it", async () => {
    const response = await api.request("GET", "169.254.169.254/latest/manifests/v1");
    expect([response.status, (await errorOf(response)).code]).toEqual([404, "NAME_UNKNOWN"]);
  });
});

describe("an upstream that fails, asked for a tag that is held", () => {
  it.each<[what: string, script: Script]>([
    ["says 404", answering(404)],
    ["says 401", answering(401)],
    ["says 429", answering(429)],
    ["says 500", answering(500)],
    ["never answers", () => undefined],
    [
      "sends a web page",
      (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("x"),
    ],
    [
      "has moved the tag to something that is no manifest",
      ({ method }, response) => {
        response.writeHead(200, { "docker-content-digest": randomBlob(1).digest, "content-type": "application/json" });
        response.end(method === "HEAD" ? undefined : "{}");
      },
    ],
  ])("is passed over with a Warning when it %s", async (_what, script) => {
    const image = makeImage([500]);
    const path = `${repository()}/manifests/v1`;
    upstream.answer(serving(image));
    expect(await api.get(path)).toEqual(image.manifest.bytes);
    upstream.answer(script);
    const stale = await api.request("GET", path);
    expect([stale.status, stale.headers.get("cache-status")]).toEqual([200, "cache-registry; hit; detail=stale"]);
    expect(stale.headers.get("warning")).toMatch(
      /^299 - "served from cache: upstream could not confirm the tag \(.+\)"$/,
    );
    expect(Buffer.from(await stale.arrayBuffer())).toEqual(image.manifest.bytes);
  });

  it("is followed again as soon as it answers", async () => {
    const [old, moved] = [makeImage(), makeImage()];
    const path = `${repository()}/manifests/v1`;
    upstream.answer(serving(old));
    await api.get(path);
    upstream.answer(serving(moved));
    const response = await api.request("GET", path);
    expect(response.headers.get("docker-content-digest")).toBe(moved.manifest.digest);
    expect(response.headers.get("warning")).toBeNull();
  });
});

describe("an upstream that lies about a blob", () => {
  const size = 300_000;
  const ask = (digest: string) => download(`${registry.url}/v2/${repository()}/blobs/${digest}`);

  it("with wrong bytes never gets them to a client whole, and nothing is kept", async () => {
    const { digest } = randomBlob(1);
    const { bytes } = randomBlob(size);
    upstream.answer((_request, response) => void response.writeHead(200, { "content-length": size }).end(bytes));
    const client = await ask(digest);
    expect([client.status, client.cut]).toEqual([200, true]);
    expect(client.size).toBeLessThanOrEqual(size - 64 * 1024);
    upstream.answer(answering(404));
    expect((await ask(digest)).status).toBe(404);
  });

  it("that is small gets the client an error instead of an answer that breaks off", async () => {
    const { bytes } = randomBlob(1_000);
    upstream.answer((_request, response) => void response.writeHead(200, { "content-length": 1_000 }).end(bytes));
    expect(await ask(randomBlob(1).digest)).toMatchObject({ status: 502, cut: false });
  });

  it("with a length that is too short or too long gets nothing believed", async () => {
    const blob = randomBlob(size);
    const short = blob.bytes.subarray(0, size - 10);
    upstream.answer(
      (_request, response) => void response.writeHead(200, { "content-length": short.length }).end(short),
    );
    expect(await ask(blob.digest)).toMatchObject({ status: 200, cut: true });
    const long = Buffer.concat([blob.bytes, Buffer.from("more")]);
    upstream.answer((_request, response) => void response.writeHead(200, { "content-length": long.length }).end(long));
    expect(await ask(blob.digest)).toMatchObject({ status: 200, cut: true });
  });

  it("with a size that changes while it is resumed fails the fetch", async () => {
    const blob = randomBlob(size);
    upstream.answer(({ headers }, response) => {
      if (headers.range === undefined) {
        response.writeHead(200, { "content-length": size });
        response.write(blob.bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
      } else {
        const rest = blob.bytes.subarray(100_000);
        const range = `bytes 100000-${size - 1}/${size + 1}`;
        response.writeHead(206, { "content-range": range, "content-length": rest.length }).end(rest);
      }
    });
    expect(await ask(blob.digest)).toMatchObject({ cut: true });
  });

  it("by ignoring Range is read past what is there", async () => {
    const blob = randomBlob(size);
    let answers = 0;
    upstream.answer((_request, response) => {
      response.writeHead(200, { "content-length": size });
      if (answers++ > 0) response.end(blob.bytes);
      else response.write(blob.bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    });
    expect(await ask(blob.digest)).toMatchObject({ digest: blob.digest, cut: false });
    expect(answers).toBe(2);
  });

  it("by not telling its length is still verified before the end is shown", async () => {
    const blob = randomBlob(size);
    upstream.answer((_request, response) => void response.writeHead(200).end(blob.bytes));
    expect(await ask(blob.digest)).toMatchObject({ digest: blob.digest, cut: false });
    expect(await ask(randomBlob(1).digest)).toMatchObject({ cut: true });
  });

  it("by hanging midway is cut after its idle time and asked for the rest", async () => {
    const blob = randomBlob(size);
    upstream.answer(({ headers }, response) => {
      if (headers.range === undefined) {
        response.writeHead(200, { "content-length": size });
        return void response.write(blob.bytes.subarray(0, 100_000));
      }
      const rest = blob.bytes.subarray(100_000);
      response.writeHead(206, { "content-range": `bytes 100000-${size - 1}/${size}`, "content-length": rest.length });
      response.end(rest);
    });
    expect(await ask(blob.digest)).toMatchObject({ digest: blob.digest, cut: false });
  });

  it.each([
    [404, answering(404)],
    [429, answering(429, { "retry-after": "3" })],
    [502, answering(500)],
    [504, (() => undefined) as Script],
  ])("or does not have it: %i", async (expected, script) => {
    upstream.answer(script);
    const path = `${repository()}/blobs/${randomBlob(10).digest}`;
    const started = performance.now();
    for (const method of ["GET", "HEAD"]) expect((await api.request(method, path)).status).toBe(expected);
    expect(performance.now() - started).toBeLessThan(4_000);
  });
});
