import { silentLogger } from "@cache-registry/runtime/logger";
import { createServer as createRealServer, listen } from "@cache-registry/runtime/server";
import Fastify from "fastify";
import { describe, expect, it } from "vitest";
import type { WantImage } from "./images.ts";
import { addManagementRoutes, type ManagementDeps } from "./routes.ts";

const IMAGE = "/api/v1/images/harbor.local%2Fteam%2Fapp%3A1";
const credentials = [{ username: "robot", password: "hunter2" }];

function createServer() {
  const wanted: WantImage[] = [];
  const images = {
    want: async (_reference: unknown, wish: WantImage) => void wanted.push(wish),
    describe: async () => ({ state: "pending" }),
  };
  const server = Fastify();
  const deps = { images, token: undefined, content: {}, scrub: {} } as unknown as ManagementDeps;
  addManagementRoutes(server, deps);
  const put = async (remoteAddress: string, payload: object) =>
    server.inject({ method: "PUT", url: IMAGE, payload, remoteAddress });
  return { wanted, put };
}

describe("credentials in PUT /api/v1/images", () => {
  it.each(["10.244.1.9", "::ffff:10.0.0.1", "2001:db8::1"])("are refused over plain HTTP from %s", async (address) => {
    const { wanted, put } = createServer();
    const answer = await put(address, { credentials });
    expect(answer.statusCode).toBe(403);
    expect(answer.body).toContain("over HTTPS only");
    expect(answer.body).not.toContain("hunter2");
    expect(wanted).toEqual([]);
    // That there are none any more is no secret.
    expect((await put(address, { credentials: [] })).statusCode).toBe(202);
    expect((await put(address, {})).statusCode).toBe(202);
  });

  it.each(["127.0.0.1", "::1", "::ffff:127.0.0.1"])("are taken from %s", async (address) => {
    const { wanted, put } = createServer();
    expect((await put(address, { credentials, owner: "a" })).statusCode).toBe(202);
    expect(wanted[0]?.credentials).toEqual(credentials);
  });

  it("are not told back when they are no credentials", async () => {
    const { put } = createServer();
    for (const wrong of [[{ username: "", password: "hunter2" }], [{ token: "hunter2" }], "hunter2"]) {
      const answer = await put("127.0.0.1", { credentials: wrong });
      expect(answer.statusCode).toBe(400);
      expect(answer.body).not.toContain("hunter2");
    }
  });
});

describe("POST /api/v1/gc", () => {
  it("is answered however long the pass takes", async () => {
    const server = createRealServer({ logger: silentLogger(), name: "test", accessLog: false, idleTimeout: 200 });
    const fullPass = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return { removedBlobs: 7 };
    };
    const deps = { collector: { fullPass }, token: undefined, content: {}, scrub: {} } as unknown as ManagementDeps;
    addManagementRoutes(server, deps);
    const { url } = await listen(server, { host: "127.0.0.1", port: 0 });
    try {
      const answer = await fetch(`${url}/api/v1/gc`, { method: "POST" });
      expect(await answer.json()).toEqual({ removedBlobs: 7 });
    } finally {
      await server.close();
    }
  });
});
