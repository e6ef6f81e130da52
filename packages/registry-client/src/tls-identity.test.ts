import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TLSSocket } from "node:tls";
import { digestOfBytes } from "@cache-registry/core/verify";
import { silentLogger } from "@cache-registry/runtime/logger";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createUpstreamClient, type UpstreamClient } from "./client.ts";
import { makeCertificate } from "./testing/certificate.ts";
import { answerJson, createScriptedRegistry, type ScriptedRegistry } from "./testing/scripted-registry.ts";
import { upstreamListSchema } from "./upstream.ts";

/* What a registry over TLS that wants a client certificate and a password sees, and what the hosts see that it sends us to. */

type Seen = { readonly url: string; readonly client: string | undefined; readonly authorization: string | undefined };

const BLOB = Buffer.from("0123456789");
const DIGEST = digestOfBytes(BLOB);
const BASIC = `Basic ${Buffer.from("robot:hunter2").toString("base64")}`;

let folder: string;
/** One server under two names: 127.0.0.1 is the registry, localhost the storage or token service of somebody else. */
let server: Server;
let port: number;
let plain: ScriptedRegistry;
let seen: Seen[];
let answer: (seen: Seen, response: ServerResponse) => unknown;
const clients: UpstreamClient[] = [];

function record(request: IncomingMessage): Seen {
  const subject = (request.socket as TLSSocket).getPeerCertificate().subject as { CN?: string } | undefined;
  const { url = "", headers } = request;
  return { url: `https://${headers.host}${url}`, client: subject?.CN, authorization: headers.authorization };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tls-identity-"));
  makeCertificate(folder, "client");
  const { certFile, keyFile } = makeCertificate(folder, "server");
  const files = { cert: await readFile(certFile), key: await readFile(keyFile) };
  server = createServer({ ...files, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    const one = record(request);
    seen.push(one);
    answer(one, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
beforeEach(async () => {
  seen = [];
  plain = await createScriptedRegistry();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await plain.stop();
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

const at = { registry: "harbor.local", repository: "team/app", digest: DIGEST };

function createClient(policy: "public" | "any"): UpstreamClient {
  const file = (name: string) => join(folder, name);
  const tls = { caFile: file("server.crt"), certFile: file("client.crt"), keyFile: file("client.key") };
  const credentials = { username: "robot", password: "hunter2" };
  const upstreams = upstreamListSchema.parse([
    { registry: "harbor.local", endpoints: [`https://127.0.0.1:${port}`], tls, credentials },
  ]);
  const client = createUpstreamClient({ upstreams, policy, logger: silentLogger() });
  clients.push(client);
  return client;
}

/** Lets in whoever shows password and certificate, and sends them on. */
function redirectTo(location: string): void {
  answer = ({ url, client, authorization }, response) => {
    if (url.includes("/storage")) return response.end(BLOB);
    if (client !== "client") return response.writeHead(403).end();
    if (authorization !== BASIC) return answerJson(response, 401, {}, { "www-authenticate": "Basic" });
    return response.writeHead(307, { location }).end();
  };
}

describe("a redirect", () => {
  it("to another host takes neither the password nor the client certificate there", async () => {
    redirectTo(`https://localhost:${port}/storage?signature=s`);
    const { stream } = await createClient("any").getBlob(at);
    expect(await text(stream)).toBe(BLOB.toString());
    expect(seen.map(({ client, authorization }) => ({ client, authorization }))).toEqual([
      { client: "client", authorization: undefined },
      { client: "client", authorization: BASIC },
      { client: undefined, authorization: undefined },
    ]);
  });

  it("within the registry keeps both", async () => {
    redirectTo("/storage");
    const { stream } = await createClient("public").getBlob(at);
    await text(stream);
    expect(seen.at(-1)).toMatchObject({ client: "client", authorization: BASIC });
  });

  it("from https to http is refused", async () => {
    redirectTo(`${plain.url}/storage`);
    await expect(createClient("any").getBlob(at)).rejects.toMatchObject({ kind: "invalid" });
    expect(plain.requests).toHaveLength(0);
  });
});

describe("a bearer realm", () => {
  const challengeWith = (realm: string): void => {
    answer = ({ url, authorization }, response) => {
      if (url.includes("/token")) return answerJson(response, 200, { token: "t1" });
      if (authorization === "Bearer t1") return response.end(BLOB);
      return answerJson(response, 401, {}, { "www-authenticate": `Bearer realm="${realm}",service="harbor"` });
    };
  };

  it.each([
    ["http", () => `${plain.url}/token`],
    ["user information", () => `https://user:pw@127.0.0.1:${port}/token`],
  ])("with %s for a registry over https is not asked", async (_what, realm) => {
    challengeWith(realm());
    await expect(createClient("any").getBlob(at)).rejects.toMatchObject({ kind: "invalid" });
    expect(plain.requests).toHaveLength(0);
    expect(seen.some(({ url }) => url.includes("/token"))).toBe(false);
  });

  it("of another host sees neither the password nor the client certificate", async () => {
    challengeWith(`https://localhost:${port}/token`);
    const { stream } = await createClient("any").getBlob(at);
    await text(stream);
    const [asked] = seen.filter(({ url }) => url.includes("/token"));
    expect(asked).toMatchObject({ client: undefined, authorization: undefined });
  });

  it("that redirects is not followed", async () => {
    challengeWith(`https://127.0.0.1:${port}/token`);
    const inner = answer;
    answer = (one, response) =>
      one.url.includes("/token")
        ? response.writeHead(307, { location: `https://localhost:${port}/storage` }).end()
        : inner(one, response);
    await expect(createClient("any").getBlob(at)).rejects.toMatchObject({ kind: "unauthorized" });
    expect(seen.some(({ url }) => url.includes("/storage"))).toBe(false);
  });
});
