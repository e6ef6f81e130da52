import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import http from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { connect } from "node:tls";
import type { FastifyInstance } from "fastify";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Certificate, createCertificate } from "./certificate.ts";
import { ConfigError } from "./config.ts";
import { createLogger, silentLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { createServer, listen } from "./server.ts";

let made: string;
beforeAll(() => {
  made = mkdtempSync(join(tmpdir(), "runtime-certificates-"));
  for (const [name, days] of [
    ["one", "30"],
    ["two", "60"],
  ] as const) {
    const files = ["-keyout", join(made, `${name}.key`), "-out", join(made, `${name}.crt`)];
    const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch"];
    execFileSync("openssl", [...kind, ...files, "-days", days, "-subj", `/CN=${name}`], { stdio: "ignore" });
  }
});
afterAll(() => rmSync(made, { recursive: true }));

let folder: string;
let cleanups: (() => unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "runtime-certificate-"));
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
  rmSync(folder, { recursive: true });
});

/** As the kubelet mounts a Secret: `tls.crt` → `..data/tls.crt`, `..data` → a folder that is swapped. */
function mount(version: string, certificate: string, key = certificate): void {
  mkdirSync(join(folder, version));
  writeFileSync(join(folder, version, "tls.crt"), readFileSync(join(made, `${certificate}.crt`)));
  writeFileSync(join(folder, version, "tls.key"), readFileSync(join(made, `${key}.key`)));
  symlinkSync(version, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
}

function mountFirst(certificate: string): void {
  mount("v1", certificate);
  for (const file of ["tls.crt", "tls.key"]) symlinkSync(join("..data", file), join(folder, file));
}

async function watchCertificate(options: { pollInterval?: number } = {}) {
  const metrics = createMetrics({ defaultMetrics: false });
  const lines: string[] = [];
  const logger = createLogger({ component: "t", destination: { write: (line) => void lines.push(line) } });
  const files = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  const certificate = await createCertificate({ ...files, name: "webhook", logger, metrics, ...options });
  cleanups.push(() => certificate.close());
  return { certificate, metrics, lines };
}

async function serve(certificate: Certificate): Promise<{ server: FastifyInstance; port: number }> {
  const server = createServer({ logger: silentLogger(), name: "webhook", certificate });
  cleanups.push(() => server.close());
  server.get("/", async () => "hello");
  const { port, url } = await listen(server, { host: "127.0.0.1", port: 0 });
  expect(url).toMatch(/^https:/);
  return { server, port };
}

/** The name in the certificate that a new handshake sees. */
function handshake(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

describe("createCertificate", () => {
  it("serves the new pair to new handshakes soon after a swap, without a poll", async () => {
    mountFirst("one");
    const { certificate, metrics } = await watchCertificate({ pollInterval: 3_600_000 });
    const { port } = await serve(certificate);
    expect(await handshake(port)).toBe("one");
    const before = certificate.notAfter;
    mount("v2", "two");
    await vi.waitFor(async () => expect(await handshake(port)).toBe("two"), { timeout: 5_000 });
    expect(certificate.notAfter.getTime() - before.getTime()).toBeGreaterThan(29 * 86_400_000);
    const text = await metrics.text();
    const seconds = certificate.notAfter.getTime() / 1000;
    expect(text).toContain(`cache_registry_certificate_not_after_seconds{name="webhook"} ${seconds}`);
    expect(text).toContain('cache_registry_certificate_reloads_total{name="webhook",result="accepted"} 1');
  });

  it("also polls, where the file system does not notify", async () => {
    mountFirst("one");
    // The folder behind the symlink is not the one that is watched: a change in place there is silent.
    const { certificate } = await watchCertificate({ pollInterval: 50 });
    for (const extension of ["crt", "key"]) {
      writeFileSync(join(folder, "v1", `tls.${extension}`), readFileSync(join(made, `two.${extension}`)));
    }
    const { port } = await serve(certificate);
    await vi.waitFor(async () => expect(await handshake(port)).toBe("two"), { timeout: 5_000 });
  });

  it("does not disturb a response that is being sent", async () => {
    mountFirst("one");
    const { certificate } = await watchCertificate();
    const body = new Readable({ read() {} });
    const server = createServer({ logger: silentLogger(), name: "webhook", certificate });
    cleanups.push(() => server.close());
    server.get("/slow", async (_request, reply) => reply.send(body));
    const { port } = await listen(server, { host: "127.0.0.1", port: 0 });
    body.push("before ");
    const answer = await new Promise<AsyncIterable<Buffer>>((resolve, reject) => {
      const agent = new http.Agent({ rejectUnauthorized: false });
      http.get({ port, host: "127.0.0.1", path: "/slow", agent }, resolve).on("error", reject);
    });
    mount("v2", "two");
    await vi.waitFor(async () => expect(await handshake(port)).toBe("two"), { timeout: 5_000 });
    body.push("after");
    body.push(null);
    let text = "";
    for await (const chunk of answer) text += chunk.toString();
    expect(text).toBe("before after");
  });

  it("refuses a broken pair, keeps the last good one, says so once, and takes the next good one", async () => {
    mountFirst("one");
    const { certificate, metrics, lines } = await watchCertificate();
    const { port } = await serve(certificate);
    mount("v2", "two", "one");
    expect(await certificate.reload()).toBe(false);
    expect(await certificate.reload()).toBe(false);
    expect(await handshake(port)).toBe("one");
    expect(lines.filter((line) => line.includes("another certificate"))).toHaveLength(1);
    expect(await metrics.text()).toContain('certificate_reloads_total{name="webhook",result="refused"} 1');
    writeFileSync(join(folder, "v2", "tls.key"), "no key at all");
    expect(await certificate.reload()).toBe(false);
    rmSync(join(folder, "v2", "tls.key"));
    expect(await certificate.reload()).toBe(false);
    expect(await handshake(port)).toBe("one");
    mount("v3", "two");
    await vi.waitFor(async () => expect(await handshake(port)).toBe("two"), { timeout: 5_000 });
  });

  it("does not start without a good pair, and names the files but shows no key", async () => {
    const missing = watchCertificate();
    await expect(missing).rejects.toThrow(ConfigError);
    await expect(missing).rejects.toThrow(join(folder, "tls.crt"));
    mountFirst("one");
    writeFileSync(join(folder, "v1", "tls.key"), readFileSync(join(made, "two.key")));
    const mismatched = watchCertificate();
    await expect(mismatched).rejects.toThrow("belongs to another certificate");
    await expect(mismatched).rejects.not.toThrow("PRIVATE KEY");
  });

  it("stops watching when closed", async () => {
    mountFirst("one");
    const { certificate } = await watchCertificate({ pollInterval: 20 });
    certificate.close();
    mount("v2", "two");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(certificate.pair().cert.toString()).toBe(readFileSync(join(made, "one.crt"), "utf8"));
  });
});
