import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type CallTiming, createManagementClient, type ManagementClient } from "./management-client.ts";
import { authoritiesInFile } from "./registry-authorities.ts";

const signal = new AbortController().signal;
let server: Server | undefined;
let client: ManagementClient | undefined;

afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

type Answer = { status: number; body?: unknown; text?: string; headers?: Record<string, string> };

async function start(answer: (request: IncomingMessage, body: string) => Answer) {
  const seen: string[] = [];
  let unauthorized = 0;
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    seen.push(`${request.method} ${request.url} ${body}`.trim());
    const { status, body: reply, text, headers } = answer(request, body);
    response.writeHead(status, headers).end(text ?? (reply === undefined ? undefined : JSON.stringify(reply)));
  }
  server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const url = urlOf(server.address());
  const token = async (): Promise<string> => "s3cret";
  const onUnauthorized = (): void => {
    unauthorized += 1;
  };
  client = createManagementClient({ url, token, onUnauthorized });
  return { client, seen, unauthorized: () => unauthorized };
}

async function connectTo(target: Server, timing: Partial<CallTiming>): Promise<ManagementClient> {
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  client = createManagementClient({ url: urlOf(target.address()), token: async () => undefined, timing });
  return client;
}

function urlOf(address: ReturnType<Server["address"]>): string {
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

/** Nobody accepts, and the kernel's queue is full: it drops what else comes, as the network of a pod that is gone does. */
async function openBlackHole(): Promise<{ readonly url: string; close(): void }> {
  const program = "const s = net.createServer().listen({ port: 0, backlog: 1 }, () => console.log(s.address().port))";
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const port = Number(await new Promise((resolve) => child.stdout.once("data", resolve)));
  child.kill("SIGSTOP");
  const fillers = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
  await sleep(300);
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      for (const filler of fillers) filler.destroy();
      child.kill("SIGKILL");
    },
  };
}

describe("createManagementClient", () => {
  it("encodes the reference, sends the token, pins for the owner", async () => {
    const { client: api, seen } = await start((request) => {
      expect(request.headers.authorization).toBe("Bearer s3cret");
      return { status: 202, body: {} };
    });
    await api.warmUp("docker.io/library/nginx:1", { owner: "me", platforms: ["linux/amd64"] }, signal);
    await api.release("docker.io/library/nginx:1", "me&you", signal);
    expect(seen).toEqual([
      'PUT /api/v1/images/docker.io%2Flibrary%2Fnginx%3A1 {"pin":true,"owner":"me","platforms":["linux/amd64"]}',
      "DELETE /api/v1/images/docker.io%2Flibrary%2Fnginx%3A1?owner=me%26you",
    ]);
  });

  it("reads an image, also with nulls and with fields that it does not know", async () => {
    const body = { reference: "r", state: "pulling", digest: null, progress: 4.5, platforms: [], news: 1 };
    const { client: api } = await start(() => ({ status: 200, body }));
    expect(await api.image("r", signal)).toMatchObject({ state: "pulling", progress: 4.5 });
  });

  it("takes 404 for absent", async () => {
    const { client: api } = await start(() => ({ status: 404, body: { errors: [{ message: "unknown" }] } }));
    expect(await api.image("r", signal)).toBeUndefined();
    await expect(api.release("r", "me", signal)).resolves.toBeUndefined();
  });

  it("walks all pages", async () => {
    const { client: api, seen } = await start(({ url = "" }) => {
      const last = new URL(url, "http://x").searchParams.get("last");
      const images = last === null ? [{ reference: "a" }, { reference: "b/c" }] : [{ reference: "d" }];
      return { status: 200, body: { images }, headers: last === null ? { link: '</x>; rel="next"' } : undefined };
    });
    const references: string[] = [];
    for await (const reference of api.references("me", signal)) references.push(reference);
    expect(references).toEqual(["a", "b/c", "d"]);
    expect(seen[1]).toBe("GET /api/v1/images?owner=me&n=500&last=b%2Fc");
  });

  it("tells why the registry is not ready, in its words or by the status", async () => {
    let answer: Answer = { status: 200, text: "ok\n" };
    const { client: api, seen } = await start(() => answer);
    expect(await api.readiness(signal)).toBeUndefined();
    answer = { status: 503, text: "[-] blob store: no space left\nnot ready\n" };
    expect(await api.readiness(signal)).toBe("blob store: no space left");
    answer = { status: 502, body: { errors: [] } };
    expect(await api.readiness(signal)).toBe("status 502");
    expect(seen).toEqual(["GET /readyz", "GET /readyz", "GET /readyz"]);
  });

  it("tells refusals from failures, with the registry's words and without the token", async () => {
    let status = 400;
    const { client: api, unauthorized } = await start(() => ({
      status,
      body: { errors: [{ message: "bad platforms" }] },
    }));
    await expect(api.warmUp("r", { owner: "me" }, signal)).rejects.toMatchObject({
      name: "RegistryRefusal",
      status: 400,
      message: "bad platforms",
    });
    status = 401;
    await expect(api.startedAt(signal)).rejects.toMatchObject({ status: 401 });
    expect(unauthorized()).toBe(1);
    status = 503;
    const error: unknown = await api.startedAt(signal).catch((thrown: unknown) => thrown);
    expect(error).not.toMatchObject({ name: "RegistryRefusal" });
    expect(String(error)).not.toContain("s3cret");
  });

  it("loses one time-out, not one for each, to the connections that a dead registry left behind", async () => {
    const dead = new WeakSet<Socket>();
    let dying = false;
    const connections: Socket[] = [];
    server = createServer((request, response) => {
      if (dead.has(request.socket)) return; // accepted, never answered
      setTimeout(() => response.end(JSON.stringify({ startedAt: dying ? 2 : 1 })), 20);
    });
    server.on("connection", (socket) => connections.push(socket));
    const api = await connectTo(server, { answer: 300, startedAt: 300 });
    await Promise.all(Array.from({ length: 8 }, () => api.startedAt(signal)));
    expect(connections).toHaveLength(8);
    dying = true;
    for (const socket of connections) dead.add(socket);
    await expect(api.startedAt(signal)).rejects.toThrow(/no answer within 300 ms/);
    expect(await api.startedAt(signal)).toBe("2");
  });

  it("does not make the question whether the registry is there wait behind calls that hang", async () => {
    server = createServer((request, response) => {
      if (request.url === "/api/v1/stats") response.end(JSON.stringify({ startedAt: 1 }));
    });
    const api = await connectTo(server, { answer: 1_000, startedAt: 300 });
    const hanging = Array.from({ length: 20 }, () => api.image("r", signal).catch(String));
    expect(await api.startedAt(signal)).toBe("1");
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(["Error: no answer within 1000 ms"]));
  });

  it("gives up a connection that is not even refused", async () => {
    const hole = await openBlackHole();
    try {
      client = createManagementClient({ url: hole.url, token: async () => undefined, timing: { connect: 200 } });
      await expect(client.startedAt(signal)).rejects.toThrow("no connection within 200 ms");
    } finally {
      hole.close();
    }
  });

  it("survives an answer that is no JSON", async () => {
    const { client: api } = await start(() => ({ status: 200 }));
    await expect(api.startedAt(signal)).rejects.toThrow(/expected object/);
  });
});

describe("over HTTPS", () => {
  it("trusts what caFile holds at the moment, also when it comes or changes later", async () => {
    const { createAuthority, issueServing } = await import("../certificates/sign.ts");
    const life = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
    const [first, second] = await Promise.all([createAuthority(life), createAuthority(life)]);
    const leaf = (authority: typeof first) =>
      issueServing(authority, { ...life, commonName: "registry", dnsNames: ["localhost"] });
    const folder = await mkdtemp(join(tmpdir(), "creg-ca-file-"));
    const caFile = join(folder, "ca.crt");
    const authorities = authoritiesInFile(caFile);
    const { certificate: cert, key } = await leaf(first);
    const secure = createSecureServer({ cert, key }, (_request, response) => response.end('{"startedAt":"1"}'));
    try {
      await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
      const url = urlOf(secure.address()).replace("http://127.0.0.1", "https://localhost");
      client = createManagementClient({ url, token: async () => undefined, authorities });
      await expect(client.startedAt(signal)).rejects.toThrow(caFile);
      await writeFile(caFile, first.certificate);
      expect(await client.startedAt(signal)).toBe("1");
      // A replica at its own address has the certificate of the name.
      const replicas = async () => ["127.0.0.1"];
      const lending = createManagementClient({ url, token: async () => undefined, authorities, replicas });
      await lending.warmUp("a", { owner: "me", credentials: [{ username: "a", password: "b" }] }, signal);
      lending.close();

      const renewed = await leaf(second);
      secure.setSecureContext({ cert: renewed.certificate, key: renewed.key });
      secure.closeIdleConnections();
      await vi.waitFor(() => expect(client?.startedAt(signal)).rejects.toThrow(/certificate/));
      await writeFile(caFile, `${second.certificate}${first.certificate}`);
      expect(await client.startedAt(signal)).toBe("1");
    } finally {
      secure.close();
      secure.closeAllConnections();
      await rm(folder, { recursive: true });
    }
  });
});

describe("credentials", () => {
  const wish = { owner: "me", credentials: [{ username: "robot", password: "hunter2" }] };
  const servers: Server[] = [];
  afterEach(() => {
    for (const one of servers.splice(0)) one.close();
  });

  /** Replicas on one port, each at an address of its own. */
  async function startReplicas(addresses: readonly string[]): Promise<{ port: number; told: string[] }> {
    const told: string[] = [];
    let port = 0;
    for (const address of addresses) {
      const one = createServer((request, response) => {
        request.resume();
        told.push(`${request.method} ${address} ${request.headers.host}`);
        response.writeHead(202, { connection: "close" }).end("{}");
      });
      await new Promise<void>((resolve) => one.listen(port, address, resolve));
      port = Number(urlOf(one.address()).split(":").at(-1));
      servers.push(one);
    }
    return { port, told };
  }

  function clientFor(port: number, replicas: readonly string[]): ManagementClient {
    client = createManagementClient({
      url: `http://localhost:${port}`,
      token: async () => undefined,
      replicas: async () => replicas,
    });
    return client;
  }

  it("are told to every replica, what has none to one", async () => {
    const addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    const { port, told } = await startReplicas(addresses);
    const api = clientFor(port, addresses);
    await api.warmUp("a", wish, signal);
    expect(told.toSorted((a, b) => a.localeCompare(b))).toEqual(
      addresses.map((address) => `PUT ${address} localhost:${port}`),
    );
    await api.warmUp("a", { owner: "me", credentials: [] }, signal);
    expect(told).toHaveLength(4);
  });

  it("count as told only when all know them", async () => {
    const { port } = await startReplicas(["127.0.0.1"]);
    await expect(clientFor(port, ["127.0.0.1", "127.0.0.2"]).warmUp("a", wish, signal)).rejects.toThrow("ECONNREFUSED");
  });

  it("never leave this machine over plain HTTP", async () => {
    const { port, told } = await startReplicas(["127.0.0.1"]);
    await expect(clientFor(port, ["127.0.0.1", "10.0.0.1"]).warmUp("a", wish, signal)).rejects.toThrow("HTTPS only");
    client = createManagementClient({ url: "http://registry.invalid:8081", token: async () => undefined });
    expect(client.confidential).toBe(false);
    await expect(client.warmUp("a", wish, signal)).rejects.toThrow("HTTPS only");
    expect(told).toEqual([]);
  });
});
