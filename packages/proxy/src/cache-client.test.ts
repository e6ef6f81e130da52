import type { AddressInfo } from "node:net";
import { createServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import {
  createScriptedRegistry,
  type ScriptedRegistry,
} from "@cache-registry/registry-client/testing/scripted-registry";
import { afterEach, describe, expect, it } from "vitest";
import { type CacheClient, createCacheClient } from "./cache-client.ts";

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function startRegistry(): Promise<ScriptedRegistry> {
  const registry = await createScriptedRegistry();
  closing.push(() => registry.stop());
  return registry;
}

function createClient(url: string, options: object = {}): CacheClient {
  const client = createCacheClient({ url, connectTimeout: 200, patience: 150, ...options });
  closing.push(() => client.close());
  return client;
}

const request = () => ({ method: "GET", path: "/v2/a/tags/list", signal: AbortSignal.timeout(10_000) }) as const;

describe("a slow cache", () => {
  it("is waited for while it answers others", async () => {
    const registry = await startRegistry();
    registry.intercept = ({ url }, response) => {
      if (url === "/v2/") return false;
      setTimeout(() => response.end("[]"), 700);
      return true;
    };
    const answer = await createClient(registry.url).ask(request());
    expect(await text(answer.body)).toBe("[]");
    expect(registry.requests.filter(({ url }) => url === "/v2/").length).toBeGreaterThan(1);
  });

  it("is given up in the end", async () => {
    const registry = await startRegistry();
    registry.intercept = ({ url }) => url !== "/v2/";
    const client = createClient(registry.url, { headersTimeout: 600 });
    await expect(client.ask(request())).rejects.toMatchObject({ failure: "timeout" });
  });
});

describe("a cache that is gone", () => {
  it("is noticed soon although its connections stand", async () => {
    // Accepts and never says a word.
    const server: Server = createServer(() => undefined);
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    closing.push(async () => server.close());
    const { port } = server.address() as AddressInfo;
    const started = performance.now();
    await expect(createClient(`http://127.0.0.1:${port}`).ask(request())).rejects.toMatchObject({ failure: "connect" });
    expect(performance.now() - started).toBeLessThan(4000);
  });

  it("costs no more than the connect time-out", async () => {
    const started = performance.now();
    // TEST-NET-1: packets go nowhere, or there is no route.
    await expect(createClient("http://192.0.2.1:5000").ask(request())).rejects.toMatchObject({ failure: "connect" });
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it("a caller that leaves meanwhile gets its own reason", async () => {
    const registry = await startRegistry();
    registry.intercept = () => true;
    const signal = AbortSignal.abort(new Error("left"));
    await expect(createClient(registry.url).ask({ ...request(), signal })).rejects.toThrow("left");
  });
});

describe("a broken connection", () => {
  it("is tried again once, for the cache may have closed an idle one", async () => {
    const registry = await startRegistry();
    let broken = 0;
    registry.intercept = ({ socket }) => {
      broken += 1;
      if (broken === 1) socket.destroy();
      return broken === 1;
    };
    expect(await createClient(registry.url).ask(request())).toMatchObject({ statusCode: 404 });
    registry.intercept = ({ socket }) => {
      socket.destroy();
      return true;
    };
    await expect(createClient(registry.url).ask(request())).rejects.toMatchObject({ failure: "broken" });
  });
});
