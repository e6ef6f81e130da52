import { once } from "node:events";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type S3Server, startS3Server } from "../support/s3-server.ts";
import { digestOf, type Image, makeImage } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

/* `redirect: <base URL>`: a web server in front of the files serves the blobs, the registry everything else. */

let web: Server;
let root = "";
let asked: string[] = [];
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

async function serveFile(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? "", "http://x").pathname;
  asked.push(path);
  const file = join(root, normalize(path.replace(/^\/cdn/, "")));
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return void response.writeHead(404).end();
  response.writeHead(200, { "content-length": found.size });
  createReadStream(file).pipe(response);
}

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  web = createServer((request, response) => void serveFile(request, response)).listen(0, "127.0.0.1");
  await once(web, "listening");
});
afterEach(async () => {
  upstream.proxy.throttle(undefined);
  await registry.dispose();
  asked = [];
});
afterAll(async () => {
  web.closeAllConnections();
  web.close();
  await upstream.dispose();
});

const base = () => `http://127.0.0.1:${(web.address() as AddressInfo).port}/cdn`;
const hex = (digest: string) => digest.slice("sha256:".length);

async function expectRedirected(repository: string, { blobs }: Image, folder: string): Promise<void> {
  for (const { digest, bytes } of blobs) {
    const answer = await api.request("GET", `${repository}/blobs/${digest}`);
    expect([answer.status, answer.headers.get("location")]).toEqual([307, `${base()}/${folder}${hex(digest)}`]);
    expect(answer.headers.get("docker-content-digest")).toBe(digest);
    const followed = await fetch(`${registry.url}/v2/${repository}/blobs/${digest}`);
    expect(Buffer.from(await followed.arrayBuffer()).equals(bytes)).toBe(true);
  }
}

describe("a registry on a file system", () => {
  it("sends clients to the base URL for what it holds, and serves the rest itself", async () => {
    // Its folder is known only when it runs, and so is the web server's root.
    registry = await startRegistryProcess({
      ...upstream.configuration(),
      storage: { blobs: { redirect: `${base()}/`, filesystem: { path: "./data" } } },
    });
    root = registry.data;
    api = createRegistryApi(registry.url);
    const image = makeImage([100_000]);
    await api.pushImage("team/app", "v1", image);
    await expectRedirected("team/app", image, "blobs/sha256/");
    // Manifests, HEAD and what a repository does not link are answered here.
    expect(await api.get(`team/app/manifests/v1`)).toEqual(image.manifest.bytes);
    const layer = image.blobs[1] ?? image.manifest;
    expect((await api.request("HEAD", `team/app/blobs/${layer.digest}`)).status).toBe(200);
    asked = [];
    expect((await api.request("GET", `team/other/blobs/${layer.digest}`)).status).toBe(404);

    const cold = makeImage([400_000]);
    await upstream.api.pushImage("base/cold", "v1", cold);
    const name = `${UPSTREAM_NAME}/base/cold`;
    await api.get(`${name}/manifests/v1`);
    const coldLayer = cold.blobs[1] ?? cold.manifest;
    upstream.proxy.throttle(1e6);
    // On its way, and nowhere yet: no web server could serve it.
    const pulls = await Promise.all([1, 2].map(() => api.request("GET", `${name}/blobs/${coldLayer.digest}`)));
    for (const pull of pulls) {
      expect([pull.status, digestOf(Buffer.from(await pull.arrayBuffer()))]).toEqual([200, coldLayer.digest]);
    }
    expect(asked).toEqual([]);
    upstream.proxy.throttle(undefined);
    await eventually(async () =>
      expect((await api.request("GET", `${name}/blobs/${coldLayer.digest}`)).status).toBe(307),
    );
  });
});

describe("a registry on an object store", () => {
  let s3: S3Server;
  beforeAll(async () => {
    s3 = await startS3Server();
  });
  afterAll(() => s3.dispose());

  it("puts its prefix between the base URL and the blob", async () => {
    registry = await startRegistryProcess({ storage: s3.storage("cache-1", { redirect: base() }) });
    root = s3.bucket;
    api = createRegistryApi(registry.url);
    const image = makeImage([100_000]);
    await api.pushImage("team/app", "v1", image);
    await expectRedirected("team/app", image, "cache-1/blobs/sha256/");
  });
});
