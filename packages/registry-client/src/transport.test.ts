import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeCertificate } from "./testing/certificate.ts";
import { createTransport, type Transport } from "./transport.ts";
import { findUpstream, upstreamListSchema } from "./upstream.ts";

let folder: string;
let server: Server;
let port: number;
const transports: Transport[] = [];

/** The names of the server's client certificate check. */
async function ask(tls: object | undefined, host = "127.0.0.1"): Promise<{ client: string | undefined }> {
  const upstreams = upstreamListSchema.parse([
    { registry: "harbor.local", endpoints: [`https://127.0.0.1:${port}`, `https://localhost:${port}`], tls },
  ]);
  const transport = createTransport({ upstreams, policy: "public" });
  transports.push(transport);
  const upstream = { ...findUpstream(upstreams, "harbor.local"), endpoints: [`https://127.0.0.1:${port}`] };
  const url = new URL(`https://${host}:${port}/`);
  const { body } = await transport.send({ upstream, url, method: "GET", headers: {} });
  return (await body.json()) as { client: string | undefined };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "transport-"));
  const { certFile, keyFile } = makeCertificate(folder, "server");
  makeCertificate(folder, "client");
  const files = { cert: await readFile(certFile), key: await readFile(keyFile) };
  server = createServer({ ...files, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    response.end(JSON.stringify({ client: subject?.CN }));
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});

afterEach(async () => {
  await Promise.all(transports.splice(0).map((transport) => transport.close()));
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

describe("TLS", () => {
  const file = (name: string) => join(folder, name);

  it("refuses an authority that nobody named", async () => {
    await expect(ask(undefined)).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
    await expect(ask({ caFile: file("client.crt") })).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  });

  it("trusts caFile, and anything with insecureSkipVerify", async () => {
    expect(await ask({ caFile: file("server.crt") })).toEqual({ client: undefined });
    expect(await ask({ insecureSkipVerify: true })).toEqual({ client: undefined });
  });

  it("shows the client certificate to the endpoint and to nobody else", async () => {
    const tls = { caFile: file("server.crt"), certFile: file("client.crt"), keyFile: file("client.key") };
    expect(await ask(tls)).toEqual({ client: "client" });
    expect(await ask(tls, "localhost")).toEqual({ client: undefined });
  });

  it("insecureSkipVerify is for the endpoints' own host", async () => {
    await expect(ask({ insecureSkipVerify: true }, "localhost")).rejects.toMatchObject({
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
  });

  it("a file that cannot be read is an error that names it", async () => {
    await expect(ask({ caFile: file("missing.crt") })).rejects.toThrow("missing.crt");
  });
});

describe("the policy public", () => {
  it("lets nobody but a listed upstream lead to a private address, also when that is another's endpoint", async () => {
    const [endpoint, other] = [`https://127.0.0.1:${port}`, "https://other.example.com"];
    const upstreams = upstreamListSchema.parse([
      { registry: "harbor.local", endpoints: [endpoint] },
      { registry: "other.example.com", endpoints: [other] },
    ]);
    const transport = createTransport({ upstreams, policy: "public" });
    transports.push(transport);
    const from = (registry: string) =>
      transport.send({
        upstream: findUpstream(upstreams, registry),
        url: new URL(`${endpoint}/admin`),
        method: "GET",
        headers: {},
      });
    await expect(from("made-up.example.com")).rejects.toMatchObject({ code: "ERR_ADDRESS_DENIED" });
    // Dialled: it is only the certificate that is not trusted.
    await expect(from("other.example.com")).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  });
});
