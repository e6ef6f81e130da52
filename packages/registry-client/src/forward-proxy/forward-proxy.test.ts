import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@cache-registry/runtime/logger";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createUpstreamClient, type UpstreamClient } from "../client.ts";
import { type ConnectProxy, createConnectProxy } from "../testing/connect-proxy.ts";
import { createScriptedRegistry, manifestBytes, type ScriptedRegistry } from "../testing/scripted-registry.ts";
import { upstreamListSchema } from "../upstream.ts";
import { parseForwardProxy, proxyFromEnvironment } from "./forward-proxy.ts";

const HOST = "registry.example.com";
let folder: string;
let caFile: string;
let secure: Server;
let plain: ScriptedRegistry;
let proxy: ConnectProxy;
const clients: UpstreamClient[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forward-proxy-"));
  caFile = join(folder, "server.crt");
  const keyFile = join(folder, "server.key");
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const names = ["-subj", `/CN=${HOST}`, "-addext", `subjectAltName=DNS:${HOST}`];
  execFileSync("openssl", [...kind, ...names, "-keyout", keyFile, "-out", caFile], { stdio: "ignore" });
  plain = await createScriptedRegistry();
  const { port } = new URL(plain.url);
  plain.addManifest("app", manifestBytes("a"), "v1");
  secure = createServer({ cert: await readFile(caFile), key: await readFile(keyFile) }, (request, response) => {
    // The same registry, over TLS.
    void fetch(`http://127.0.0.1:${port}${request.url}`, { method: request.method ?? "GET" }).then(async (answer) => {
      const bytes = Buffer.from(await answer.arrayBuffer());
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(bytes);
    });
  });
  await new Promise<void>((resolve) => void secure.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  secure.closeAllConnections();
  secure.close();
  await plain.stop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  proxy = await createConnectProxy();
  plain.requests.length = 0;
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await proxy.close();
});

type Shape = { endpoint?: string; env?: Record<string, string>; proxy?: string };

function createClient({ endpoint = `https://${HOST}`, env = {}, ...more }: Shape): UpstreamClient {
  const timeouts = { connect: "1s", headers: "1s", idle: "1s" };
  const upstreams = upstreamListSchema.parse([
    { registry: "up.example.com", endpoints: [endpoint], tls: { caFile }, timeouts, ...more },
  ]);
  const proxyFor = proxyFromEnvironment(env);
  const client = createUpstreamClient({ upstreams, policy: "public", proxyFor, logger: silentLogger() });
  clients.push(client);
  return client;
}

const request = { registry: "up.example.com", repository: "app", reference: "v1" };
const leadTo = (server: Server | string): number =>
  typeof server === "string" ? Number(new URL(server).port) : (server.address() as AddressInfo).port;

describe("an upstream behind a proxy", () => {
  it("over https is reached through a tunnel, with its own certificate checked", async () => {
    proxy.names.set(HOST, leadTo(secure));
    const client = createClient({ env: { HTTPS_PROXY: `http://${proxy.host}`, HTTP_PROXY: "http://127.0.0.1:1" } });
    expect(await client.getManifest(request)).toMatchObject({ digest: expect.stringMatching(/^sha256:/) });
    expect(await client.headManifest(request)).toMatchObject({ digest: expect.stringMatching(/^sha256:/) });
    expect(new Set(proxy.requests)).toEqual(new Set([`CONNECT ${HOST}:443`]));
    proxy.names.set("other.example.com", leadTo(secure));
    const other = createClient({ endpoint: "https://other.example.com", env: { HTTPS_PROXY: proxy.host } });
    await expect(other.getManifest(request)).rejects.toMatchObject({ kind: "unreachable" });
    expect(proxy.requests).toContain("CONNECT other.example.com:443");
  });

  it("over http is asked for by its whole URL", async () => {
    proxy.names.set(HOST, leadTo(plain.url));
    const client = createClient({ endpoint: `http://${HOST}:8080/base`, env: { http_proxy: proxy.host } });
    await expect(client.getManifest(request)).rejects.toMatchObject({ kind: "not-found" });
    expect(proxy.requests).toEqual([`GET http://${HOST}:8080/base/v2/app/manifests/v1`]);
    expect(plain.requests).toMatchObject([{ url: "/base/v2/app/manifests/v1", headers: { host: `${HOST}:8080` } }]);
  });

  it("is told the credentials in the proxy's URL, and the upstream is not", async () => {
    proxy.credentials = "us er:p@ss";
    proxy.names.set(HOST, leadTo(plain.url));
    const url = `http://us%20er:p%40ss@${proxy.host}`;
    await createClient({ endpoint: `http://${HOST}`, env: { HTTP_PROXY: url } }).getManifest(request);
    expect(JSON.stringify(plain.requests)).not.toContain("roxy-");
    proxy.names.set(HOST, leadTo(secure));
    await createClient({ env: { HTTPS_PROXY: url } }).getManifest(request);
    const refused = createClient({ env: { HTTPS_PROXY: `http://us%20er:wrong@${proxy.host}` } });
    const error = await refused.getManifest(request).catch((failure: Error) => failure);
    expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining("answered 407") });
    expect(JSON.stringify(error)).not.toContain("wrong");
  });

  it("is dialled directly when NO_PROXY or its own `proxy` says so, and loopback always", async () => {
    const env = { HTTP_PROXY: `http://${proxy.host}`, NO_PROXY: "192.168.0.0/16,.example.com" };
    const direct = proxyFromEnvironment(env);
    expect(direct(new URL("http://a.example.com"))).toBeUndefined();
    expect(direct(new URL("http://192.168.1.1:5000"))).toBeUndefined();
    expect(direct(new URL("https://b.example.org"))).toBeUndefined();
    expect(direct(new URL("http://b.example.org"))?.url.host).toBe(proxy.host);
    await createClient({ endpoint: plain.url, env: { HTTP_PROXY: proxy.host } }).getManifest(request);
    const { port } = new URL(plain.url);
    const own = createClient({
      endpoint: `http://localhost.:${port}`,
      env: { HTTP_PROXY: proxy.host },
      proxy: "direct",
    });
    await own.getManifest(request).catch(() => undefined);
    expect(proxy.requests).toEqual([]);
  });

  it("is reached by its own `proxy` before that of the environment", async () => {
    proxy.names.set(HOST, leadTo(secure));
    const env = { HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: "*" };
    await createClient({ env, proxy: `http://${proxy.host}` }).getManifest(request);
    expect(proxy.requests).toHaveLength(1);
  });

  it.each([
    "localhost",
    "10.0.0.1",
    "[fd00::1]",
    "169.254.169.254",
    "metadata.google.internal",
    "api.default.svc",
    "kubernetes",
  ])("does not lead to %s when nobody listed that", async (host) => {
    proxy.names.set(host, leadTo(secure));
    for (const name of [host, `${host}:8443`]) {
      const client = createClient({ env: { HTTPS_PROXY: `http://${proxy.host}` }, proxy: `http://${proxy.host}` });
      const asked = client.getManifest({ ...request, registry: name });
      await expect(asked).rejects.toMatchObject({ kind: "denied-by-policy" });
    }
    plain.intercept = (_request, response) => {
      response.writeHead(307, { location: `http://${host}/latest/meta-data` }).end();
      plain.intercept = undefined;
      return true;
    };
    proxy.names.set(HOST, leadTo(plain.url));
    const redirected = createClient({ endpoint: `http://${HOST}`, proxy: `http://${proxy.host}` });
    await expect(redirected.getManifest(request)).rejects.toMatchObject({ kind: "denied-by-policy" });
    expect(proxy.requests).toEqual([`GET http://${HOST}/v2/app/manifests/v1`]);
  });

  it("is unreachable for as long as the proxy is, or a time-out when it does not answer", async () => {
    const dead = createClient({ env: { HTTPS_PROXY: "http://127.0.0.1:1" } });
    await expect(dead.getManifest(request)).rejects.toMatchObject({ kind: "unreachable" });
    const silent = createServer();
    await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
    const mute = createClient({ env: { HTTPS_PROXY: `127.0.0.1:${leadTo(silent)}` } });
    await expect(mute.getManifest(request)).rejects.toMatchObject({
      kind: expect.stringMatching(/timeout|unreachable/),
    });
    silent.close();
  });
});

describe("what is no proxy", () => {
  it.each(["ftp://a", "http://", "a b", "http://a/path", "socks5://a:1080"])("%s is refused", (text) => {
    expect(parseForwardProxy(text)).toBeUndefined();
    expect(() => proxyFromEnvironment({ HTTPS_PROXY: text })).toThrow(/HTTPS_PROXY: expected/);
    expect(upstreamListSchema.safeParse([{ registry: "a.io", proxy: text }]).success).toBe(false);
  });
});
