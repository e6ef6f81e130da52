import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { createManagementClient, type ManagementClient } from "./management-client.ts";

const signal = new AbortController().signal;
let server: Server | undefined;
let client: ManagementClient | undefined;

afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

type Answer = { status: number; body?: unknown; headers?: Record<string, string> };

async function start(answer: (request: IncomingMessage, body: string) => Answer) {
  const seen: string[] = [];
  let unauthorized = 0;
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    seen.push(`${request.method} ${request.url} ${body}`.trim());
    const { status, body: reply, headers } = answer(request, body);
    response.writeHead(status, headers).end(reply === undefined ? undefined : JSON.stringify(reply));
  }
  server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const url = `http://127.0.0.1:${port}`;
  const token = async (): Promise<string> => "s3cret";
  const onUnauthorized = (): void => {
    unauthorized += 1;
  };
  client = createManagementClient({ url, token, onUnauthorized });
  return { client, seen, unauthorized: () => unauthorized };
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

  it("survives an answer that is no JSON", async () => {
    const { client: api } = await start(() => ({ status: 200 }));
    await expect(api.startedAt(signal)).rejects.toThrow(/expected object/);
  });
});
