import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, describe, expect, it } from "vitest";
import { createHttpClient, type HttpClient } from "../remote/http-client.ts";
import { createRegistrySource } from "./registry-source.ts";
import { bytesOf } from "./verified.ts";

const NAME = { registry: "example.com", repository: "library/app" };
const content = Buffer.from("the bytes of a layer");
const digest = digestOfBytes(content);
const servers: Server[] = [];
let client: HttpClient | undefined;

afterEach(async () => {
  client?.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

async function sourceOf(answer: RequestListener) {
  client = createHttpClient({ url: await serve(answer), authorization: async () => "Basic secret" });
  return createRegistrySource(client);
}

describe("a blob that the registry sends its clients elsewhere for", () => {
  it("is read there, by the very URL, and without the credentials of the registry", async () => {
    const seen: IncomingMessage[] = [];
    const store = await serve((request, response) => {
      seen.push(request);
      response.end(content);
    });
    const location = `${store}/bucket/blobs/sha256/ab?signature=a%2Bb%3D`;
    const source = await sourceOf((_request, response) => response.writeHead(307, { location }).end());
    expect(await bytesOf(await source.blob(NAME, digest), 1_000)).toEqual(content);
    expect(seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ["/bucket/blobs/sha256/ab?signature=a%2Bb%3D", undefined],
    ]);
  });

  it("is a refusal when it is not there", async () => {
    const store = await serve((_request, response) => response.writeHead(403).end("expired"));
    const source = await sourceOf((_request, response) => response.writeHead(307, { location: `${store}/a` }).end());
    await expect(bytesOf(await source.blob(NAME, digest), 1_000)).rejects.toThrow("403 expired");
  });
});
