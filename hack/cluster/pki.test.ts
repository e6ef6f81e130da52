import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPki, type Pki } from "./pki.ts";

describe("createPki", () => {
  const folder = mkdtempSync(join(tmpdir(), "pki-"));
  const read = (file: string) => new X509Certificate(readFileSync(file));
  let pki: Pki;
  beforeAll(async () => {
    pki = await createPki(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("makes an authority that signs", () => {
    expect(read(pki.ca.certFile).ca).toBe(true);
  });

  it("gives clients a user and a group", async () => {
    const client = read((await pki.client("kubelet", { user: "system:node:n", group: "system:nodes" })).certFile);
    expect(client.subject.split("\n")).toEqual(["O=system:nodes", "CN=system:node:n"]);
    expect(client.ca).toBe(false);
    expect(client.checkIssued(read(pki.ca.certFile))).toBe(true);
  });

  it("gives servers their names and addresses", async () => {
    const server = read((await pki.server("s", ["DNS:localhost", "IP:10.96.0.1"])).certFile);
    expect(server.checkHost("localhost")).toBe("localhost");
    expect(server.checkIP("10.96.0.1")).toBe("10.96.0.1");
    expect(server.checkHost("example.com")).toBeUndefined();
  });
});
