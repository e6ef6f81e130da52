import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { dnsNamesOf, type PemPair, printAuthorities, readAuthorities } from "./pem.ts";
import { createAuthority, issueServing } from "./sign.ts";

const now = Date.now();
const LIFE = { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) };
const NAMES = ["webhook.default.svc", "localhost"];

async function make(): Promise<{ authority: PemPair; leaf: PemPair }> {
  const authority = await createAuthority(LIFE);
  return { authority, leaf: await issueServing(authority, { ...LIFE, commonName: "x".repeat(80), dnsNames: NAMES }) };
}

/** The status of an answer over TLS, checked against these authorities. @throws what the handshake says */
async function ask({ certificate, key }: PemPair, ca: string): Promise<number | undefined> {
  const server = createServer({ cert: certificate, key }, (_request, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise((resolve, reject) => {
      const asking = request({ host: "localhost", family: 4, port, ca, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asking.once("error", reject).end();
    });
  } finally {
    server.close();
  }
}

describe("certificates", () => {
  it("are taken by whoever trusts the authority, also among others, and by nobody else", async () => {
    const [one, other] = await Promise.all([make(), make()]);
    const both = `${other.authority.certificate}${one.authority.certificate}`;
    expect(await ask(one.leaf, one.authority.certificate)).toBe(200);
    expect(await ask(one.leaf, both)).toBe(200);
    expect(await ask(other.leaf, both)).toBe(200);
    await expect(ask(one.leaf, other.authority.certificate)).rejects.toThrow(/certificate/);
  });

  it("say what they are for; openssl agrees", async () => {
    const { authority, leaf } = await make();
    const read = new X509Certificate(leaf.certificate);
    expect(dnsNamesOf(read)).toEqual(["localhost", "webhook.default.svc"]);
    expect(read.subject).toBe(`CN=${"x".repeat(64)}`);
    expect(read.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(read.ca).toBe(false);
    expect(read.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
    const folder = mkdtempSync(join(tmpdir(), "creg-sign-"));
    try {
      writeFileSync(join(folder, "ca.crt"), authority.certificate);
      writeFileSync(join(folder, "tls.crt"), leaf.certificate);
      const options = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", "localhost"];
      const files = ["-CAfile", join(folder, "ca.crt"), join(folder, "tls.crt")];
      expect(execFileSync("openssl", ["verify", ...options, ...files]).toString()).toContain("OK");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("authorities have different names, and are found in a text of many", async () => {
    const [one, other] = await Promise.all([make(), make()]);
    const text = `# one\n${one.authority.certificate}\nnonsense\n${one.leaf.certificate}${other.authority.certificate}`;
    const found = readAuthorities(text);
    expect(found).toHaveLength(2);
    expect(new Set(found.map(({ subject }) => subject)).size).toBe(2);
    expect(readAuthorities(printAuthorities(found))).toHaveLength(2);
    expect(readAuthorities("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")).toEqual([]);
  });
});
