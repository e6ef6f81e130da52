import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "@cache-registry/registry-client/testing/certificate";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RunningProxy, startProxy } from "./testing/running-proxy.ts";

/** Registries that the nodes' containerd may be told to trust, or to ask without TLS, and nobody told the proxy. */

const MANIFEST = "/v2/docker.io/library/nginx/manifests/1.27";
const folder = mkdtempSync(join(tmpdir(), "untrusted-"));
const servers: http.Server[] = [];
let proxy: RunningProxy;

async function listen(server: http.Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

let endpoints: Readonly<Record<"own authority" | "no TLS", string>>;

beforeAll(async () => {
  const { certFile, keyFile } = makeCertificate(folder, "registry");
  const secure = https.createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
  endpoints = { "own authority": await listen(secure), "no TLS": await listen(http.createServer()) };
});
afterEach(() => proxy.close());
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

async function start(endpoint: string, status: number | "broken"): Promise<RunningProxy> {
  proxy = await startProxy({ upstreams: [{ registry: "docker.io", endpoints: [endpoint] }] });
  proxy.cache.intercept = (request, response) => {
    if (status === "broken") request.socket.destroy();
    else response.writeHead(status).end();
    return true;
  };
  return proxy;
}

describe.each(["own authority", "no TLS"] as const)("a registry with %s", (kind) => {
  it.each([404, 502])("is one for the node alone when the cache says %i", async (status) => {
    const running = await start(endpoints[kind], status);
    expect((await running.ask(MANIFEST, { method: "HEAD" })).status).toBe(403);
    const { errors } = JSON.parse((await running.ask(MANIFEST)).body.toString());
    expect(errors).toMatchObject([{ code: "DENIED", message: expect.stringContaining("upstreams") }]);
  });

  it("may yet come from the cache while that is away", async () => {
    const running = await start(endpoints[kind], "broken");
    expect((await running.ask(MANIFEST, { method: "HEAD" })).status).toBe(502);
  });
});
