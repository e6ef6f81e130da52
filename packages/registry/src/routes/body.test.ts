import http from "node:http";
import type { AddressInfo } from "node:net";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createServer, listen } from "@cache-registry/runtime/server";
import { afterEach, describe, expect, it } from "vitest";
import { localRepository } from "../content/repository.ts";
import { forwardingUploadRoutes } from "../replicas/upload-owner.ts";
import { bodyOf } from "./body.ts";

/** Of the server, and a store that takes longer. Milliseconds. */
const IDLE_MS = 200;
const STORE_MS = 1_000;

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const servers: { close(): unknown }[] = [];
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close())));

function impatientServer() {
  const server = createServer({ logger: silentLogger(), name: "test", accessLog: false, idleTimeout: IDLE_MS });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  servers.push(server);
  return server;
}

async function storingServer(): Promise<string> {
  const server = impatientServer();
  server.put("/*", async (request, reply) => {
    for await (const chunk of bodyOf(request)) void chunk;
    await sleep(STORE_MS);
    return reply.code(201).send();
  });
  return (await listen(server, { host: "127.0.0.1", port: 0 })).url;
}

/** The status, after so many milliseconds for the second half of the body. */
function put(url: string, pause = 0, agent?: http.Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/blob`, { method: "PUT", headers: { "content-length": "2" }, agent });
    request.on("error", reject).on("response", (answer) => resolve(answer.resume().statusCode));
    request.write("a");
    setTimeout(() => request.end("b"), pause);
  });
}

describe("a store that takes long over what it was sent", () => {
  it("keeps its client waiting, and does not lose it", async () => {
    const url = await storingServer();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    servers.push({ close: () => agent.destroy() });
    expect(await put(url, 0, agent)).toBe(201);
    // The next one on the same connection is not given that time for its body.
    await expect(put(url, STORE_MS, agent)).rejects.toThrow("socket hang up");
  });

  it("nor the client of another replica", async () => {
    const owner = new URL(await storingServer());
    const peers = {
      send: (_peer: unknown, { body }: { body?: http.IncomingMessage }) =>
        new Promise<http.IncomingMessage>((resolve, reject) => {
          const request = http.request(new URL("/blob", owner), { method: "PUT" }, resolve).on("error", reject);
          body?.pipe(request);
        }),
    };
    const routes = forwardingUploadRoutes(
      { PUT: () => Promise.reject(new Error("not here")) },
      {
        owners: { ownerOf: async () => ({ id: "b", address: owner.href }) } as never,
        peers: peers as never,
        logger: silentLogger(),
      },
    );
    const server = impatientServer();
    server.put("/*", async (request, reply) => {
      const exchange = { request, reply, repository: localRepository("a"), name: "a", query: new URLSearchParams() };
      const answer = await routes.PUT?.(exchange, { id: "x" });
      if (!answer) throw new Error("no route");
      return answer;
    });
    await listen(server, { host: "127.0.0.1", port: 0 });
    const { port } = server.server.address() as AddressInfo;
    expect(await put(`http://127.0.0.1:${port}`)).toBe(201);
  });
});
