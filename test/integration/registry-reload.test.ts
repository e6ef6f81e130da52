import { execFileSync } from "node:child_process";
import { copyFile, readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeRegistry, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { serving } from "../support/scripts.ts";
import { makeImage, randomBlob } from "../support/test-content.ts";

let upstream: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let file: string;

beforeAll(async () => {
  upstream = await startFakeRegistry();
  registry = await startRegistryProcess({ upstreams: [entry("one")], upstreamPolicy: "listed" });
  api = createRegistryApi(registry.url);
  file = join(registry.directory, "registry.yaml");
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.close();
});

const entry = (name: string, more: object = {}) => ({
  registry: `${name}.example.com`,
  endpoints: [upstream.url],
  paths: [name],
  ...more,
});

/** Replaces keys of the running registry's configuration file. */
async function configure(changes: object): Promise<void> {
  const document = { ...(parse(await readFile(file, "utf8")) as object), ...changes };
  await writeFile(`${file}.new`, stringify(document));
  await rename(`${file}.new`, file);
}

const readyz = async () => (await fetch(`${registry.management}/readyz?verbose`)).text();
const timesRead = () => registry.output().split("configuration read anew").length;
let tags = 0;
/** Of a tag that nobody asked for yet. */
const status = async (repository: string) => (await api.request("GET", `${repository}/manifests/v${++tags}`)).status;

it("follows upstreams that are added, changed and taken away, without a restart", async () => {
  const { pid } = registry;
  upstream.answer(serving(makeImage()));
  expect(await status("two/app")).toBe(404);
  expect(upstream.requests).toHaveLength(0);
  await configure({ upstreams: [entry("one"), entry("two", { hosts: ["two.local"] })] });
  await eventually(async () => expect(await status("two/app")).toBe(200));
  await configure({ upstreams: [entry("two")] });
  await eventually(async () => expect(await status("one.example.com/app")).toBe(404));
  await configure({ upstreams: [entry("two"), entry("one")] });
  await eventually(async () => expect(await status("one.example.com/app")).toBe(200));
  expect(registry.pid).toBe(pid);
});

it("does not disturb a fetch that is under way, and one that breaks goes on by the new configuration", async () => {
  const blob = randomBlob(300_000);
  const elsewhere = await startFakeRegistry();
  upstream.answer((_request, response) => {
    response.writeHead(200, { "content-length": blob.bytes.length });
    response.write(blob.bytes.subarray(0, 100_000));
  });
  elsewhere.answer(({ headers }, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    const range = `bytes ${start}-${blob.bytes.length - 1}/${blob.bytes.length}`;
    response.writeHead(start > 0 ? 206 : 200, { "content-length": blob.bytes.length - start, "content-range": range });
    response.end(blob.bytes.subarray(start));
  });
  const client = download(`${registry.url}/v2/one/app/blobs/${blob.digest}`);
  await eventually(() => expect(upstream.requests.at(-1)).toContain(blob.digest));
  const reads = timesRead();
  await configure({ upstreams: [{ ...entry("one"), endpoints: [elsewhere.url] }] });
  await eventually(() => expect(timesRead()).toBe(reads + 1));
  expect(elsewhere.requests).toHaveLength(0);
  await upstream.close();
  expect(await client).toMatchObject({ status: 200, digest: blob.digest, cut: false });
  expect(elsewhere.requests.at(-1)).toContain(blob.digest);
  await elsewhere.close();
  upstream = await startFakeRegistry();
});

it("goes on with the last good configuration when the file is not valid, and says so everywhere", async () => {
  upstream.answer(serving(makeImage()));
  await configure({ upstreams: [entry("one")] });
  await eventually(async () => expect(await status("one/app")).toBe(200));
  const credentials = { username: "u", password: "hunter2" };
  await configure({ upstreams: [entry("one", { credentials, concurrency: "hunter3" })] });
  await eventually(async () => expect(await readyz()).toContain("[!] configuration: the changed file is not used"));
  expect(await readyz()).toContain("upstreams.0.concurrency");
  expect(await status("one/app")).toBe(200);
  const metrics = async () => (await fetch(`${registry.management}/metrics`)).text();
  expect(await metrics()).toContain("cache_registry_config_last_reload_successful 0");
  expect(registry.output()).toContain("configuration refused, going on with the last good one");
  expect(registry.output()).not.toContain("hunter2");
  // Judged as a whole, files that it names included.
  await configure({ upstreams: [entry("one", { tls: { caFile: "/nowhere/ca.crt" } })] });
  await eventually(async () => expect(await readyz()).toContain("upstreams.0.tls.caFile"));
  await configure({ upstreams: [entry("one")], gc: { grace: "2h" } });
  await eventually(async () => expect(await readyz()).toContain("a restart is needed for changes of gc"));
  await configure({ gc: {} });
  await eventually(async () => expect(await readyz()).toContain("[+] configuration: ok"));
  expect(await metrics()).toContain("cache_registry_config_last_reload_successful 1");
});

it("reads the files that it names again when they change, without any change of its own", async () => {
  const at = (name: string) => join(registry.directory, name);
  const makeCertificate = (name: string) => {
    const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
    const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
    const files = ["-keyout", at(`${name}.key`), "-out", at(`${name}.crt`)];
    execFileSync("openssl", [...kind, ...names, ...files], { stdio: "ignore" });
  };
  for (const name of ["server", "other"]) makeCertificate(name);
  const seen: (string | undefined)[] = [];
  const { manifest } = makeImage();
  const files = { cert: await readFile(at("server.crt")), key: await readFile(at("server.key")) };
  const server = createServer(files, ({ headers }, response) => {
    seen.push(headers.authorization);
    if (headers.authorization === undefined) {
      return void response.writeHead(401, { "www-authenticate": "Basic" }).end();
    }
    response.writeHead(200, { "content-type": manifest.mediaType, "content-length": manifest.bytes.length });
    response.end(manifest.bytes);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const endpoints = [`https://127.0.0.1:${(server.address() as AddressInfo).port}`];
  await copyFile(at("other.crt"), at("ca.crt"));
  await writeFile(at("password"), "first\n");
  const credentials = { username: "u", passwordFile: at("password") };
  await configure({ upstreams: [{ ...entry("tls"), endpoints, credentials, tls: { caFile: at("ca.crt") } }] });
  await eventually(async () => expect(await status("tls/app")).toBe(502));
  const reads = timesRead();
  await copyFile(at("server.crt"), at("ca.crt"));
  await eventually(async () => expect(await status("tls/app")).toBe(200));
  await writeFile(at("password"), "second\n");
  await eventually(async () => {
    expect(await status("tls/app")).toBe(200);
    expect(seen.at(-1)).toBe(`Basic ${Buffer.from("u:second").toString("base64")}`);
  });
  expect(timesRead()).toBe(reads);
  server.closeAllConnections();
  server.close();
});
