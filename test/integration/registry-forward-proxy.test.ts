import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectProxy, createConnectProxy } from "@cache-registry/registry-client/testing/connect-proxy";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { type FakeRegistry, startFakeRegistry } from "../support/fake-registry.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, runCommand, startRegistryProcess } from "../support/registry-process.ts";
import { serving } from "../support/scripts.ts";
import { makeImage } from "../support/test-content.ts";

const PASSWORD = "correct-horse";
let proxy: ConnectProxy;
let upstream: FakeRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  proxy = await createConnectProxy();
  proxy.credentials = `cache:${PASSWORD}`;
  upstream = await startFakeRegistry();
  proxy.names.set("harbor.example.com", Number(new URL(upstream.url).port));
  const url = `http://cache:${PASSWORD}@${proxy.host}`;
  const endpoints = ["http://harbor.example.com"];
  registry = await startRegistryProcess(
    {
      upstreams: [
        { registry: "up.example.com", endpoints, paths: ["up"] },
        { registry: "near.example.com", endpoints: [upstream.url], paths: ["near"] },
        {
          registry: "wrong.example.com",
          endpoints,
          paths: ["wrong"],
          proxy: `http://cache:${PASSWORD}2@${proxy.host}`,
        },
      ],
      log: { level: "debug" },
    },
    { env: { HTTP_PROXY: url, HTTPS_PROXY: url } },
  );
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.close();
  await proxy?.close();
});
beforeEach(() => {
  proxy.requests.length = 0;
});

it("an upstream is pulled through the proxy of the environment, loopback directly, and nobody learns the password", async () => {
  const image = makeImage();
  upstream.answer(serving(image));
  expect(await api.get("up/app/manifests/v1")).toEqual(image.manifest.bytes);
  for (const { digest, bytes } of image.blobs) expect(await api.get(`up/app/blobs/${digest}`)).toEqual(bytes);
  expect(proxy.requests).toHaveLength(1 + image.blobs.length);
  expect(proxy.requests[0]).toBe("GET http://harbor.example.com/v2/app/manifests/v1");
  await api.get("near/app/manifests/v1");
  expect(proxy.requests).toHaveLength(1 + image.blobs.length);
  const refused = await api.request("GET", "wrong/app/manifests/v1");
  expect([refused.status, await refused.text()]).toEqual([502, expect.not.stringContaining(PASSWORD)]);
  const metrics = await (await fetch(`${registry.management}/metrics`)).text();
  expect(registry.output() + metrics).not.toContain(PASSWORD);
  expect(registry.output()).not.toContain(Buffer.from(`cache:${PASSWORD}`).toString("base64"));
});

it.each([
  "10.0.0.1",
  "metadata.google.internal",
  "localhost:8080",
  "kubernetes.default.svc:443",
])("the proxy is not asked for %s, which nobody listed", async (ns) => {
  const response = await api.request("GET", `app/manifests/v1?ns=${ns}`);
  expect([response.status, (await errorOf(response)).code]).toEqual([404, "NAME_UNKNOWN"]);
  expect(proxy.requests).toEqual([]);
});

it("a variable that names no proxy ends the process, without its value", async () => {
  const directory = await mkdtemp(join(tmpdir(), "creg-proxy-"));
  const env = { HTTPS_PROXY: `ftp://cache:${PASSWORD}@proxy` };
  const command = runCommand(["registry"], { cwd: directory, env });
  expect(await command.exited).toBe(2);
  expect(command.output()).toContain("HTTPS_PROXY: expected the http:// or https:// URL of a proxy");
  expect(command.output()).not.toContain(PASSWORD);
  await rm(directory, { recursive: true });
});
