import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { ApiError, isConflict, isNotFound } from "./api-error.ts";
import { clientOver } from "./client.ts";
import type { ConnectionSource } from "./kube-config.ts";
import { CACHED_IMAGES, PODS } from "./resource.ts";
import { createTransport, type Transport } from "./transport.ts";

type Seen = { method: string; url: string; headers: IncomingMessage["headers"]; body: string };
type Handler = (seen: Seen, response: ServerResponse) => void;

let server: Server | undefined;
let transport: Transport | undefined;
afterEach(() => {
  transport?.close();
  server?.closeAllConnections();
  server?.close();
});

async function start(handler: Handler) {
  const seen: Seen[] = [];
  let invalidated = 0;
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const entry = { method: request.method ?? "", url: request.url ?? "", headers: request.headers, body };
    seen.push(entry);
    handler(entry, response);
  }
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const connections: ConnectionSource = {
    namespace: "here",
    current: async () => ({
      server: new URL(`http://127.0.0.1:${port}/prefix/`),
      tls: {},
      headers: { Authorization: `Bearer token-${invalidated}` },
      fingerprint: "",
    }),
    invalidate: () => {
      invalidated += 1;
    },
  };
  transport = createTransport({ connections, userAgent: "test/1", qps: 1_000 });
  return { seen, client: clientOver(transport) };
}

function reply(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

describe("the API client", () => {
  it("builds paths, queries, bodies and media types", async () => {
    const { seen, client } = await start((_, response) => reply(response, 200, { metadata: {}, items: null }));
    await client.list(PODS, { namespace: "a b", labelSelector: "x=y", limit: 5 });
    const image = { metadata: { name: "n" }, spec: { sourceImage: "i" } };
    await client.apply(CACHED_IMAGES, image, { fieldManager: "me", subresource: "status" });
    await client.delete(CACHED_IMAGES, { name: "n" }, { preconditions: { uid: "u", resourceVersion: "7" } });
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "GET /prefix/api/v1/namespaces/a%20b/pods?labelSelector=x%3Dy&limit=5",
      "PATCH /prefix/apis/cache-registry.enix.io/v1alpha1/cachedimages/n/status?fieldManager=me&force=true",
      "DELETE /prefix/apis/cache-registry.enix.io/v1alpha1/cachedimages/n",
    ]);
    expect(seen[1]?.headers["content-type"]).toBe("application/apply-patch+yaml");
    expect(JSON.parse(seen[2]?.body ?? "").preconditions).toEqual({ uid: "u", resourceVersion: "7" });
    expect(seen[0]?.headers).toMatchObject({ authorization: "Bearer token-0", "user-agent": "test/1" });
  });

  it("takes an empty list from null, as Go prints it", async () => {
    const { client } = await start((_, response) => reply(response, 200, { metadata: {}, items: null }));
    expect((await client.list(PODS)).items).toEqual([]);
  });

  it("throws what the Status says", async () => {
    const status = { kind: "Status", reason: "AlreadyExists", message: 'pods "x" already exists', code: 409 };
    const { client } = await start((_, response) => reply(response, 409, status));
    const error = await client
      .create(PODS, { metadata: { name: "x", namespace: "d" } })
      .catch((thrown: unknown) => thrown);
    expect(isConflict(error)).toBe(true);
    expect(isNotFound(error)).toBe(false);
    expect((error as ApiError).message).toBe('API server: 409 pods "x" already exists');
  });

  it("reads credentials anew after a 401, once", async () => {
    const { seen, client } = await start(({ headers }, response) => {
      if (headers.authorization === "Bearer token-0") reply(response, 401, {});
      else reply(response, 200, { metadata: { name: "x" } });
    });
    await client.get(PODS, { namespace: "d", name: "x" });
    expect(seen).toHaveLength(2);
  });

  it("gives a second 401 to the caller, without the token in the message", async () => {
    const { client } = await start((_, response) => reply(response, 401, {}));
    const error = await client.get(PODS, { namespace: "d", name: "x" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect(String(error)).not.toContain("token-");
  });

  it("waits out a 429 as long as Retry-After says", async () => {
    let busy = 2;
    const { seen, client } = await start((_, response) => {
      busy -= 1;
      if (busy >= 0) reply(response, 429, {}, { "retry-after": "0.1" });
      else reply(response, 200, { metadata: { name: "x" } });
    });
    const began = performance.now();
    await client.get(PODS, { namespace: "d", name: "x" });
    expect(seen).toHaveLength(3);
    expect(performance.now() - began).toBeGreaterThan(180);
  });

  it("does not wait for ever for a server that hangs", async () => {
    const { client } = await start(() => {});
    const got = client.get(PODS, { namespace: "d", name: "x" }, { timeout: 50 });
    await expect(got).rejects.toThrow("no answer within 50 ms");
    const watched = client.watch(PODS, { resourceVersion: "1", timeoutSeconds: 60, timeout: 50 });
    await expect(watched).rejects.toThrow("no answer within 50 ms");
  });

  it("loses one time-out, not one for each, to the connections that a dead server left behind", async () => {
    const dead = new WeakSet<object>();
    const { client } = await start((_, response) => {
      if (response.socket && dead.has(response.socket)) return;
      setTimeout(() => reply(response, 200, { metadata: { name: "x" } }), 20);
    });
    const connections: object[] = [];
    server?.on("connection", (socket) => connections.push(socket));
    const get = () => client.get(PODS, { namespace: "d", name: "x" }, { timeout: 300 });
    await Promise.all(Array.from({ length: 8 }, get));
    expect(connections).toHaveLength(8);
    for (const socket of connections) dead.add(socket);
    await expect(get()).rejects.toThrow("no answer within 300 ms");
    expect((await get()).metadata.name).toBe("x");
  });

  it("closes a watch at the signal", async () => {
    let closed = false;
    const { client } = await start((_, response) => {
      response.on("close", () => {
        closed = true;
      });
      response.writeHead(200).write("\n");
    });
    const ending = new AbortController();
    const stream = await client.watch(PODS, { resourceVersion: "1", timeoutSeconds: 60, signal: ending.signal });
    stream.on("error", () => {});
    ending.abort(new Error("over"));
    await expect.poll(() => closed).toBe(true);
  });
});
