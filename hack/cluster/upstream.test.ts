import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startUpstream, type Upstream } from "./upstream.ts";

const BLOB = Buffer.alloc(300_000, "blob");

describe("upstream", () => {
  let registry: Server;
  let upstream: Upstream;
  beforeEach(async () => {
    registry = createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const body = incoming.method === "PUT" ? Buffer.concat(chunks) : BLOB;
        outgoing.writeHead(incoming.method === "PUT" ? 201 : 200, {
          "content-length": body.length,
          "x-host": incoming.headers.host,
        });
        outgoing.end(incoming.method === "HEAD" ? undefined : body);
      });
    });
    await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
    const { port } = registry.address() as AddressInfo;
    upstream = await startUpstream({ target: `http://127.0.0.1:${port}`, host: "127.0.0.1" });
  });
  afterEach(async () => {
    await upstream.close();
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
  });
  const get = async (path: string) => Buffer.from(await (await fetch(upstream.url + path)).arrayBuffer());

  it("passes requests and answers on, and counts them without their queries", async () => {
    expect((await get("/v2/a?ns=x")).equals(BLOB)).toBe(true);
    await get("/v2/a");
    await fetch(`${upstream.url}/v2/a`, { method: "HEAD" });
    const put = await fetch(`${upstream.url}/v2/b`, { method: "PUT", body: "pushed" });
    expect([put.status, await put.text()]).toEqual([201, "pushed"]);
    expect(put.headers.get("x-host")).toBe(new URL(upstream.url).host);
    expect(upstream.counts()).toEqual({
      "GET /v2/a": { requests: 2, bytes: 2 * BLOB.length },
      "HEAD /v2/a": { requests: 1, bytes: 0 },
      "PUT /v2/b": { requests: 1, bytes: 6 },
    });
    upstream.reset();
    expect(upstream.counts()).toEqual({});
  });

  it("refuses connections while it is off, on the same port afterwards", async () => {
    await upstream.off();
    await expect(get("/v2/a")).rejects.toThrow("fetch failed");
    await upstream.on();
    expect((await get("/v2/a")).length).toBe(BLOB.length);
  });

  it("limits the bytes per second of all answers together", async () => {
    upstream.throttle(1_000_000);
    const start = performance.now();
    await Promise.all([get("/v2/a"), get("/v2/b")]);
    const seconds = (performance.now() - start) / 1000;
    expect(seconds).toBeGreaterThan(0.5);
    expect(seconds).toBeLessThan(1.5);
  });

  it("breaks one answer after so many bytes, once", async () => {
    upstream.cutOnce({ pathMatch: /\/b$/, afterBytes: 100_000 });
    expect((await get("/v2/a")).length).toBe(BLOB.length);
    await expect(get("/v2/b")).rejects.toThrow("terminated");
    expect(upstream.counts()["GET /v2/b"]?.bytes).toBe(100_000);
    expect((await get("/v2/b")).length).toBe(BLOB.length);
  });

  it("refuses what it is told to, and counts it", async () => {
    upstream.refuse({ status: 429, headers: { "retry-after": "1" }, pathMatch: /\/b$/ });
    const refused = await fetch(`${upstream.url}/v2/b`);
    expect([refused.status, refused.headers.get("retry-after"), await refused.text()]).toEqual([429, "1", ""]);
    expect((await fetch(`${upstream.url}/v2/a`)).status).toBe(200);
    upstream.refuse(undefined);
    expect((await fetch(`${upstream.url}/v2/b`)).status).toBe(200);
    expect(upstream.counts()["GET /v2/b"]?.requests).toBe(2);
  });

  it("lets those in who bring what it wants", async () => {
    upstream.refuse({ status: 401, unlessAuthorization: "Basic eDp5" });
    const ask = async (authorization: string) =>
      (await fetch(`${upstream.url}/v2/a`, { headers: { authorization } })).status;
    expect([await ask("Basic eDp5"), await ask("Basic eDp6"), (await fetch(`${upstream.url}/v2/a`)).status]).toEqual([
      200, 401, 401,
    ]);
    upstream.refuse(undefined);
  });

  it("breaks the connection when the registry is gone", async () => {
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
    await expect(get("/v2/a")).rejects.toThrow("fetch failed");
  });
});
