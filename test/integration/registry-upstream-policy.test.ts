import { hostname } from "node:os";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type FakeRegistry, type Script, startFakeRegistry } from "../support/fake-registry.ts";
import { rawRequest } from "../support/raw-http.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { answering, serving } from "../support/scripts.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";

/** The listed upstream, and a server beside us that nobody listed: it must never be asked. */
let upstream: FakeRegistry;
let secret: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let port: string;

beforeAll(async () => {
  upstream = await startFakeRegistry();
  secret = await startFakeRegistry();
  secret.answer(serving(makeImage()));
  ({ port } = new URL(secret.url));
  const names = ["up", ...Array.from({ length: 12 }, (_, index) => `up-${index}`)];
  registry = await startRegistryProcess({
    upstreams: names.map((name) => ({ registry: `${name}.example.com`, endpoints: [upstream.url], paths: [name] })),
    upstreamPolicy: "public",
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.close();
  await secret?.close();
});
beforeEach(() => {
  upstream.requests.length = 0;
  secret.requests.length = 0;
});

const raw = (path: string, headers = "") =>
  rawRequest(registry.url, `GET ${path} HTTP/1.1\r\nHost: cache.example.com\r\n${headers}Connection: close\r\n\r\n`);

function codeIn(body: string): string | undefined {
  return (JSON.parse(body) as { errors: { code: string }[] }).errors[0]?.code;
}

/** What names this machine, in every way that came to mind. `PORT` is that of the server nobody listed. */
const OURSELVES = [
  "127.0.0.1:PORT",
  "127.1:PORT",
  "127.0.0.1.:PORT",
  "0127.0.0.1:PORT",
  "0177.0.0.1:PORT",
  "0x7f.0.0.1:PORT",
  "0x7f000001:PORT",
  "2130706433:PORT",
  "0.0.0.0:PORT",
  "0:PORT",
  "[::1]:PORT",
  "[::]:PORT",
  "[0:0:0:0:0:0:0:1]:PORT",
  "[::ffff:127.0.0.1]:PORT",
  "[::ffff:7f00:1]:PORT",
  "[::127.0.0.1]:PORT",
  "[64:ff9b::7f00:1]:PORT",
  "[fe80::1%25lo]:PORT",
  "localhost:PORT",
  "LOCALHOST:PORT",
  "LocalHost:PORT",
  "localhost.:PORT",
  `${hostname()}:PORT`,
  "user@127.0.0.1:PORT",
  "user:password@127.0.0.1:PORT",
  "up.example.com@127.0.0.1:PORT",
  "127.0.0.1:PORT@up.example.com",
  "127.0.0.1:PORT%00.example.com",
  "127.0.0.1%00:PORT",
  "127.0.0.1:PORT%0d%0aHost:%20up.example.com",
  "127.0.0.1:PORT%0a",
  "127.0.0.1:PORT%2f",
  "127.0.0.1:PORT%2f..%2f",
  "127.0.0.1:PORT%23.example.com",
  "127.0.0.1:PORT%3f.example.com",
  "127.0.0.1:PORT%5c.example.com",
  "http:%2f%2f127.0.0.1:PORT",
  "%2f%2f127.0.0.1:PORT",
  "%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1:PORT",
  "127%E3%80%820%E3%80%820%E3%80%821:PORT",
  "loc%C2%ADalhost:PORT",
  "%EF%BD%8Cocalhost:PORT",
  "127.0.0.1:0PORT",
  "127.0.0.1:PORT%20",
  "%20127.0.0.1:PORT",
  "127.0.0.1:+PORT",
];
/** Metadata services and other people's networks, as addresses. */
const ELSEWHERE = [
  "169.254.169.254",
  "[fd00:ec2::254]",
  "100.100.100.200",
  "192.0.0.192",
  "168.63.129.16",
  "10.96.0.1",
];

describe("a name in ?ns= that nobody listed", () => {
  it.each([
    ...OURSELVES,
    ...ELSEWHERE,
    "",
    "a".repeat(300),
    ".",
    "..",
    "-",
    "_",
    ":",
  ])("%s is not dialled", async (ns) => {
    const value = ns.replace("PORT", port);
    const digest = randomBlob(1).digest;
    for (const path of ["manifests/latest", `manifests/${digest}`, `blobs/${digest}`, `referrers/${digest}`]) {
      const { status, body } = await raw(`/v2/team/app/${path}?ns=${value}`);
      expect([400, 404], body).toContain(status);
      expect(["BAD_REQUEST", "NAME_UNKNOWN"]).toContain(codeIn(body));
    }
    expect([secret.requests, upstream.requests]).toEqual([[], []]);
  });

  it("given twice, also in another spelling, is a bad request", async () => {
    for (const query of ["ns=up.example.com&ns=up.example.com", `ns=up.example.com&n%73=127.0.0.1:${port}`]) {
      const { status, body } = await raw(`/v2/team/app/manifests/v1?${query}`);
      expect([status, codeIn(body)]).toEqual([400, "BAD_REQUEST"]);
    }
    expect([secret.requests, upstream.requests]).toEqual([[], []]);
  });

  it("does not come from the path when ns names a listed one, nor from any header", async () => {
    upstream.answer(serving(makeImage()));
    const path = `/v2/127.0.0.1_${port}/app/manifests/v1`;
    const evil = `X-Forwarded-Host: 127.0.0.1:${port}\r\nForwarded: host=127.0.0.1:${port}\r\nX-Original-URL: /\r\n`;
    expect((await raw(`${path}?ns=up.example.com`, evil)).status).toBe(200);
    expect(upstream.requests).toEqual([`GET ${path}`]);
    const hosted = await rawRequest(
      registry.url,
      `GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`,
    );
    expect(hosted.status).toBe(404);
    expect(secret.requests).toEqual([]);
  });
});

describe("a first path component that nobody listed", () => {
  const components = OURSELVES.map((name) => name.replace(":PORT", "_PORT"));
  it.each([...components, ...OURSELVES, ...ELSEWHERE])("%s is not dialled", async (component) => {
    const name = component.replace("PORT", port);
    const { status, body } = await raw(`/v2/${name}/app/manifests/latest`);
    expect([400, 404], body).toContain(status);
    expect(["NAME_INVALID", "NAME_UNKNOWN", "NOT_FOUND", "BAD_REQUEST"]).toContain(codeIn(body));
    expect([secret.requests, upstream.requests]).toEqual([[], []]);
  });
});

let counter = 0;
const repository = () => `up-${counter++ % 12}/app-${counter}`;

describe("an upstream that leads elsewhere", () => {
  it.each([
    "http://localhost:PORT/v2/app/manifests/v1",
    "http://[::1]:PORT/",
    "http://0.0.0.0:PORT/",
    `http://${hostname()}:PORT/`,
    "//localhost:PORT/",
    "\\\\localhost:PORT\\x",
    "http://user:password@localhost:PORT/",
    "http://localhost:PORT\\@127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "ftp://localhost:PORT/",
  ])("by a redirect to %s is not followed", async (location) => {
    upstream.answer(answering(307, { location: location.replace("PORT", port) }));
    const name = repository();
    for (const path of ["manifests/v1", `blobs/${randomBlob(1).digest}`]) {
      const { status } = await api.request("GET", `${name}/${path}`);
      expect([404, 502]).toContain(status);
    }
    expect(secret.requests).toEqual([]);
  });

  it.each([
    'Bearer realm="http://localhost:PORT/token",service="x"',
    `Bearer realm="http://${hostname()}:PORT/token"`,
    'Bearer realm="http://user:password@localhost:PORT/token"',
    'Bearer realm="//localhost:PORT/token"',
  ])("by a token service at %s is not followed", async (challenge) => {
    upstream.answer(answering(401, { "www-authenticate": challenge.replace("PORT", port) }));
    const { status } = await api.request("GET", `${repository()}/manifests/v1`);
    expect([404, 502]).toContain(status);
    expect(secret.requests).toEqual([]);
  });

  it("in circles, or on and on, ends soon", async () => {
    let hops = 0;
    for (const next of [() => "/v2/around", () => `/v2/on/${++hops}`]) {
      upstream.requests.length = 0;
      upstream.answer((_request, response) => void response.writeHead(302, { location: next() }).end());
      const { status } = await api.request("GET", `${repository()}/manifests/v1`);
      expect(status).toBe(502);
      expect(upstream.requests.length).toBeLessThan(15);
    }
  });
});

describe("an answer that is not what was asked for", () => {
  const encoded =
    (script: Script): Script =>
    (request, response) => {
      response.setHeader("content-encoding", "gzip");
      script(request, response);
    };

  it("as it is encoded is neither served nor kept, whether it really is or only says so", async () => {
    const image = makeImage();
    const name = repository();
    const [config] = image.blobs;
    for (const script of [
      encoded(serving(image)),
      encoded((_request, response) => void response.end(gzipSync(image.manifest.bytes))),
    ]) {
      upstream.answer(script);
      expect((await api.request("GET", `${name}/manifests/${image.manifest.digest}`)).status).toBe(502);
      expect((await api.request("GET", `${name}/blobs/${config?.digest}`)).status).toBe(502);
    }
    upstream.answer(serving(image));
    expect(await api.get(`${name}/blobs/${config?.digest}`)).toEqual(config?.bytes);
  });

  it("is not asked for in an encoding, whatever the client takes", async () => {
    const image = makeImage();
    const seen: (string | undefined)[] = [];
    upstream.answer((request, response) => {
      seen.push(request.headers["accept-encoding"]);
      serving(image)(request, response);
    });
    const headers = { "accept-encoding": "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5" };
    const response = await api.request("GET", `${repository()}/manifests/v1`, { headers });
    expect([response.status, response.headers.get("content-encoding")]).toEqual([200, null]);
    expect(seen).toEqual(["identity"]);
  });

  it("with a digest header that is none is judged by its bytes", async () => {
    const image = makeImage();
    for (const value of ["sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", "../../etc/passwd"]) {
      upstream.answer((_request, response) => {
        response.writeHead(200, { "docker-content-digest": value, "content-type": image.manifest.mediaType });
        response.end(image.manifest.bytes);
      });
      const response = await api.request("GET", `${repository()}/manifests/v1`);
      expect([response.status, response.headers.get("docker-content-digest")]).toEqual([200, image.manifest.digest]);
    }
  });

  it("is told with the upstream's name, not with its addresses or anybody's secrets", async () => {
    upstream.answer(answering(307, { location: `http://localhost:${port}/?X-Amz-Signature=hush` }));
    const response = await api.request("GET", `${repository()}/manifests/v1`);
    const error = JSON.stringify(await errorOf(response));
    expect(error).not.toContain("hush");
    expect(registry.output()).not.toContain("hush");
  });
});
