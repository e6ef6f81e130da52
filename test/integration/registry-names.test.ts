import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { rawRequest } from "../support/raw-http.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Image, makeImage } from "../support/test-content.ts";
import { startUpstreamRegistry, type UpstreamRegistry } from "../support/upstream-registry.ts";

/** Two registries of the world: one deployment stands for both, and Docker Hub has a second endpoint. */
let hub: UpstreamRegistry;
let quay: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let alpine: Image;
let app: Image;

/** Refuses connections until it is told otherwise: the first endpoint of Docker Hub here. */
const NOBODY = "http://127.0.0.1:1";

beforeAll(async () => {
  hub = await startUpstreamRegistry();
  quay = await startUpstreamRegistry();
  [alpine, app] = [makeImage([5_000]), makeImage([5_000])];
  await hub.api.pushImage("library/alpine", "3", alpine);
  await quay.api.pushImage("team/app", "1", app);
  registry = await startRegistryProcess({
    upstreams: [
      {
        registry: "docker.io",
        endpoints: [NOBODY, hub.proxy.url],
        paths: ["hub"],
        hosts: ["docker.cache.example.com"],
      },
      { registry: "quay.io", endpoints: [quay.proxy.url], paths: ["q"], hosts: ["quay.cache.example.com:8443"] },
      { registry: "pair.example.com", endpoints: [quay.proxy.url, hub.proxy.url], paths: ["pair"], tagTtl: "0s" },
    ],
    upstreamPolicy: "listed",
    externalNames: ["registry.example.com", "localhost:7439"],
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await Promise.all([hub?.dispose(), quay?.dispose()]);
});
beforeEach(() => {
  hub.proxy.reset();
  quay.proxy.reset();
});

async function digestAt(path: string, host = "cache.example.com"): Promise<string | undefined> {
  const { headers } = await rawRequest(
    registry.url,
    `HEAD /v2/${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
  );
  return headers["docker-content-digest"];
}

describe("an image of an upstream", () => {
  it.each([
    ["by its full name", "docker.io/library/alpine/manifests/3", undefined],
    ["by the short name of Docker Hub", "docker.io/alpine/manifests/3", undefined],
    ["by another name of Docker Hub", "index.docker.io/alpine/manifests/3", undefined],
    ["by a path alias", "hub/alpine/manifests/3", undefined],
    ["by ?ns=", "alpine/manifests/3?ns=docker.io", undefined],
    ["by a virtual host", "alpine/manifests/3", "docker.cache.example.com"],
    ["by a virtual host on any port", "library/alpine/manifests/3", "Docker.Cache.Example.com:5000"],
    ["by ?ns= of a virtual host", "alpine/manifests/3?ns=docker.cache.example.com", undefined],
  ])("is one and the same %s", async (_how, path, host) =>
    expect(await digestAt(path, host)).toBe(alpine.manifest.digest));

  it("is pulled whole by a virtual host, each host its own upstream, side by side", async () => {
    for (const { digest } of app.blobs) {
      const headers = { host: "quay.cache.example.com:8443" };
      const got = await download(`${registry.url}/v2/team/app/blobs/${digest}`, { headers });
      expect(got).toMatchObject({ status: 200, digest });
    }
    expect(await digestAt("team/app/manifests/1", "quay.cache.example.com:8443")).toBe(app.manifest.digest);
    expect(await digestAt("team/app/manifests/1", "docker.cache.example.com")).toBeUndefined();
    expect(await digestAt("team/app/manifests/1")).toBeUndefined();
    expect(await digestAt("q/team/app/manifests/1")).toBe(app.manifest.digest);
  });

  it("is not pushed to by any of its names", async () => {
    for (const path of ["docker.io/library/alpine", "hub/alpine", "q/team/app"]) {
      expect((await api.request("POST", `${path}/blobs/uploads/`)).status).toBe(405);
    }
    const { status } = await rawRequest(
      registry.url,
      "POST /v2/alpine/blobs/uploads/ HTTP/1.1\r\nHost: docker.cache.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    expect(status).toBe(405);
  });
});

describe("our own names", () => {
  it("mean local repositories, and are never dialled", async () => {
    const image = makeImage([100]);
    await api.pushImage("registry.example.com/team/own", "1", image);
    expect(await digestAt("team/own/manifests/1")).toBe(image.manifest.digest);
    for (const name of ["registry.example.com", "localhost_7439"]) {
      expect(await digestAt(`${name}/team/own/manifests/1`)).toBe(image.manifest.digest);
    }
    expect(await digestAt("team/own/manifests/1?ns=registry.example.com")).toBe(image.manifest.digest);
    expect(await digestAt("team/own/manifests/1?ns=localhost:7439", "localhost:7439")).toBe(image.manifest.digest);
    expect(await digestAt("team/own/manifests/1", "registry.example.com")).toBe(image.manifest.digest);
  });
});

describe("several endpoints", () => {
  it("are asked in order: the next when one fails, the first again when it is back, none for what the first denies", async () => {
    const path = "pair/library/alpine/manifests/3";
    // The first knows better: it has no such image.
    expect((await api.request("GET", path)).status).toBe(404);
    expect(hub.requests(/./)).toBe(0);

    const both = makeImage([3_000]);
    for (const each of [quay, hub]) await each.api.pushImage("both/app", "1", both);
    await quay.proxy.off();
    expect(await digestAt("pair/both/app/manifests/1")).toBe(both.manifest.digest);
    for (const { digest } of both.blobs) {
      expect(await download(`${registry.url}/v2/pair/both/app/blobs/${digest}`)).toMatchObject({ status: 200, digest });
    }
    expect(hub.requests(/GET/)).toBeGreaterThanOrEqual(3);
    await quay.proxy.on();
    await eventually(async () => {
      quay.proxy.reset();
      expect(await digestAt("pair/both/app/manifests/1")).toBe(both.manifest.digest);
      expect(quay.requests(/both/)).toBe(1);
    });
  });
});
