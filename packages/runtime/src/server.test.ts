import { connect } from "node:net";
import { Readable } from "node:stream";
import { CodedError } from "@cache-registry/core/errors";
import type { FastifyInstance } from "fastify";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createLogger, silentLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { createServer, listen, type ServerOptions } from "./server.ts";

const servers: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

function create(options: Partial<ServerOptions> = {}): FastifyInstance {
  const server = createServer({ logger: silentLogger(), name: "test", ...options });
  servers.push(server);
  return server;
}

function captureLogger() {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { lines, logger: createLogger({ component: "test", level: "debug", destination }) };
}

async function start(server: FastifyInstance) {
  const { url, port } = await listen(server, { host: "127.0.0.1", port: 0 });
  return { url, port };
}

/** Everything the server answers on one raw connection. */
function talk(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer)).on("error", reject);
  });
}

function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 5_000 });
}

describe("errors", () => {
  it("writes a CodedError as the OCI error body with its status and headers", async () => {
    const server = create();
    server.get("/", async () => {
      throw new CodedError("UNAVAILABLE", "busy", { detail: { retry: true }, headers: { "retry-after": "1" } });
    });
    const response = await server.inject("/");
    expect(response.statusCode).toBe(503);
    expect(response.headers).toMatchObject({ "retry-after": "1", "content-type": "application/json; charset=utf-8" });
    expect(response.json()).toEqual({ errors: [{ code: "UNAVAILABLE", message: "busy", detail: { retry: true } }] });
  });

  it("says nothing of the content that it is not, least of all that it never changes", async () => {
    const server = create();
    server.get("/", async (_request, reply) => {
      reply.code(206).headers({
        etag: '"sha256:0"',
        "cache-control": "max-age=31536000, immutable",
        "docker-content-digest": "sha256:0",
        "content-range": "bytes 0-1/2",
        "accept-ranges": "bytes",
        "content-length": "1000000",
        "cache-status": "cache-registry; hit",
      });
      throw new CodedError("UNAVAILABLE", "busy", { headers: { "retry-after": "1" } });
    });
    const { statusCode, headers, body } = await server.inject("/");
    expect(statusCode).toBe(503);
    for (const name of ["etag", "cache-control", "docker-content-digest", "content-range", "accept-ranges"]) {
      expect([name, headers[name]]).toEqual([name, undefined]);
    }
    expect(headers).toMatchObject({ "retry-after": "1", "cache-status": "cache-registry; hit" });
    expect(headers["content-length"]).toBe(String(Buffer.byteLength(body)));
  });

  it("hides what is unknown, even with a status of its own, and logs it", async () => {
    const { logger, lines } = captureLogger();
    const server = create({ logger });
    server.get("/", async () => {
      throw Object.assign(new Error("row 7 of /data/db is broken"), { statusCode: 404 });
    });
    const response = await server.inject("/");
    expect([response.statusCode, response.json()]).toEqual([
      500,
      { errors: [{ code: "INTERNAL", message: "internal error" }] },
    ]);
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: "error",
        path: "/",
        err: expect.objectContaining({ message: expect.stringContaining("row 7") }),
      }),
    );
  });

  it("answers unknown endpoints, bad URLs and large bodies in the same form", async () => {
    const server = create({ bodyLimit: 10 });
    server.post("/", async () => "");
    server.get("/x/:name", async () => "");
    const post = (payload: string) =>
      server.inject({ method: "POST", url: "/", payload, headers: { "content-type": "text/plain" } });
    const codes = async (response: { statusCode: number; json(): { errors: { code: string }[] } }) => [
      response.statusCode,
      response.json().errors[0]?.code,
    ];
    expect(await codes(await server.inject("/nowhere"))).toEqual([404, "NOT_FOUND"]);
    expect(await codes(await server.inject("/x/%zz"))).toEqual([400, "BAD_REQUEST"]);
    expect(await codes(await post("x".repeat(11)))).toEqual([413, "SIZE_INVALID"]);
    expect((await post("x")).statusCode).toBe(200);
  });
});

describe("limits", () => {
  it("takes encoded references of 2048 characters, and no longer ones", async () => {
    const server = create();
    server.get<{ Params: { reference: string } }>("/images/:reference", async (request) =>
      request.params.reference.length.toString(),
    );
    expect((await server.inject(`/images/${"a%2F".repeat(512)}`)).body).toBe("1024");
    expect((await server.inject(`/images/${"a".repeat(2049)}`)).statusCode).toBeGreaterThanOrEqual(400);
  });

  it("takes bodies of 5 MiB", async () => {
    const server = create();
    server.post("/", async (request) => String((request.body as string).length));
    const payload = "x".repeat(5 * 1024 * 1024);
    const response = await server.inject({
      method: "POST",
      url: "/",
      payload,
      headers: { "content-type": "text/plain" },
    });
    expect(response.body).toBe(String(payload.length));
  });

  it("refuses header floods and malformed requests with an error body", async () => {
    const { port } = await start(create());
    const flood = await talk(port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(40_000)}\r\n\r\n`);
    expect(flood).toMatch(/^HTTP\/1\.1 431 [\s\S]*"code":"BAD_REQUEST"/);
    expect(await talk(port, "NONSENSE\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 [\s\S]*malformed/);
  });

  it("cuts a connection on which nothing moves", async () => {
    const server = create({ idleTimeout: 100 });
    server.get("/", () => new Promise(() => {}));
    const { port } = await start(server);
    const started = performance.now();
    expect(await talk(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("");
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("does not make HEAD routes by itself", async () => {
    const server = create();
    server.get("/", async () => "");
    expect((await server.inject({ method: "HEAD", url: "/" })).statusCode).toBe(404);
  });
});

describe("listen", () => {
  it("gives the bound address, logs it once, and restores the log level", async () => {
    const { logger, lines } = captureLogger();
    const server = create({ logger });
    const address = await listen(server, { host: "0.0.0.0", port: 0 });
    expect(address).toEqual({ host: "0.0.0.0", port: expect.any(Number), url: `http://0.0.0.0:${address.port}` });
    expect(lines).toEqual([expect.objectContaining({ msg: "listening", url: address.url, server: "test" })]);
    expect(server.log.level).toBe("debug");
  });

  it("shares a port when asked, and fails otherwise", async () => {
    const options = { host: "127.0.0.1", reusePort: true };
    const { port } = await listen(create(), { ...options, port: 0 });
    await expect(listen(create(), { ...options, port })).resolves.toMatchObject({ port });
    await expect(listen(create(), { host: "127.0.0.1", port })).rejects.toThrow("EADDRINUSE");
  });
});

describe("requests are observed", () => {
  it("logs one line each, without the query, and counts them by route", async () => {
    const { logger, lines } = captureLogger();
    const metrics = createMetrics({ defaultMetrics: false });
    const server = create({ logger, metrics });
    server.get("/v2/:name", async () => "hello");
    const { url } = await start(server);
    await (await fetch(`${url}/v2/a?ns=docker.io&token=hunter2`, { headers: { "user-agent": "t" } })).text();
    await eventually(() =>
      expect(lines.at(-1)).toMatchObject({
        msg: "request",
        level: "info",
        method: "GET",
        path: "/v2/a",
        ns: "docker.io",
        status: 200,
        remote: "127.0.0.1",
        agent: "t",
        bytes: expect.any(Number),
        ms: expect.any(Number),
      }),
    );
    expect(JSON.stringify(lines)).not.toContain("hunter2");
    const text = await metrics.text();
    expect(text).toContain(
      'cache_registry_http_requests_total{server="test",method="GET",route="/v2/:name",status="200"} 1',
    );
    expect(text).toContain(
      'cache_registry_http_request_duration_seconds_count{server="test",method="GET",route="/v2/:name"} 1',
    );
  });

  it("tells responses that the client left", async () => {
    const { logger, lines } = captureLogger();
    const server = create({ logger });
    server.get("/begun", async (_request, reply) => {
      const body = new Readable({ read() {} });
      body.push("some");
      return reply.send(body);
    });
    const { url } = await start(server);
    const controller = new AbortController();
    const response = await fetch(`${url}/begun`, { signal: controller.signal });
    expect(response.status).toBe(200);
    controller.abort();
    await eventually(() => expect(lines).toContainEqual(expect.objectContaining({ msg: "request", aborted: true })));
  });

  it("can be silent about requests", async () => {
    const { logger, lines } = captureLogger();
    const server = create({ logger, accessLog: false });
    server.get("/", async () => "hello");
    const { url } = await start(server);
    await (await fetch(url)).text();
    await server.close();
    expect(lines.filter((line) => line.msg === "request")).toEqual([]);
  });
});

describe("close", () => {
  it("lets a running response finish and does not wait for idle connections", async () => {
    const server = create();
    const body = new Readable({ read() {} });
    server.get("/idle", async () => "");
    server.get("/slow", async (_request, reply) => reply.send(body));
    const { url } = await start(server);
    await (await fetch(`${url}/idle`)).text();
    body.push("first ");
    const slow = await fetch(`${url}/slow`);
    const closing = server.close();
    let closed = false;
    void closing.then(() => {
      closed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(closed).toBe(false);
    await expect(fetch(`${url}/idle`)).rejects.toThrow("fetch failed");
    body.push("last");
    body.push(null);
    expect(await slow.text()).toBe("first last");
    await closing;
  });
});
