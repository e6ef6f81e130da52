import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../../hack/cluster/free-port.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeRegistry, startFakeRegistry } from "../support/fake-registry.ts";
import { type RunningCommand, runCommand, whenReady } from "../support/registry-process.ts";
import { serving } from "../support/scripts.ts";
import { makeImage } from "../support/test-content.ts";

let upstream: FakeRegistry;
let proxy: RunningCommand;
let directory: string;
let base: string;
let management: string;

const configure = (changes: object) =>
  writeFile(join(directory, "proxy.yaml"), stringify({ ...configuration, ...changes }));
let configuration: object;

beforeAll(async () => {
  upstream = await startFakeRegistry();
  upstream.answer(serving(makeImage()));
  directory = await mkdtemp(join(tmpdir(), "creg-proxy-"));
  const [port, managementPort] = [await freePort(), await freePort()];
  base = `http://127.0.0.1:${port}/v2`;
  management = `http://127.0.0.1:${managementPort}`;
  configuration = {
    listen: { hosts: ["127.0.0.1"], port },
    management: { port: managementPort },
    // The cache is down, so that everything goes round it.
    registry: { url: "http://127.0.0.1:1" },
  };
  await configure({ upstreams: [] });
  proxy = runCommand(["proxy", "--config", join(directory, "proxy.yaml")], { cwd: directory });
  await whenReady(proxy, management);
});
afterAll(async () => {
  proxy?.child.kill("SIGTERM");
  await proxy?.exited;
  await upstream?.close();
  await rm(directory, { recursive: true, force: true });
});

it("the node proxy follows its upstreams without a restart, and keeps the last good ones", async () => {
  const status = async () => (await fetch(`${base}/registry.example_5000/app/manifests/v1`)).status;
  const readyz = async () => (await fetch(`${management}/readyz?verbose`)).text();
  expect(await status()).not.toBe(200);
  await configure({ upstreams: [{ registry: "registry.example:5000", endpoints: [upstream.url] }] });
  await eventually(async () => expect(await status()).toBe(200));
  await configure({ upstreams: [{ registry: "registry.example:5000", endpoints: "none" }] });
  await eventually(async () => expect(await readyz()).toContain("[!] configuration: the changed file is not used"));
  expect(await status()).toBe(200);
});
