/* Two processes of the proxy on the same ports of a host, as during an update of the DaemonSet. DESIGN rule 16. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../../hack/cluster/free-port.ts";
import { eventually } from "../support/eventually.ts";
import { type FakeRegistry, startFakeRegistry } from "../support/fake-registry.ts";
import { startPullLoops } from "../support/pull-loop.ts";
import { type RunningCommand, runCommand, whenReady } from "../support/registry-process.ts";
import { serving } from "../support/scripts.ts";
import { makeImage } from "../support/test-content.ts";

const UPDATES = 3;
/** Some thirty new connections a second are more than the busiest node makes. */
const PAUSE_MS = 100;
const PATH = "/v2/docker.io/library/app/manifests/v1";

let cache: FakeRegistry;
let directory: string;
let port: number;
let management: string;
let managementPort: number;
const started: RunningCommand[] = [];

function start(env: Record<string, string> = {}): RunningCommand {
  const process = runCommand(["proxy", "--config", join(directory, "proxy.yaml")], { cwd: directory, env });
  started.push(process);
  return process;
}

beforeAll(async () => {
  cache = await startFakeRegistry();
  cache.answer(serving(makeImage()));
  directory = await mkdtemp(join(tmpdir(), "creg-proxy-update-"));
  [port, managementPort] = [await freePort(), await freePort()];
  management = `http://127.0.0.1:${managementPort}`;
  const configuration = {
    listen: { port, handover: "15s" },
    management: { port: managementPort },
    registry: { url: cache.url, connectTimeout: "5s" },
    log: { access: false },
  };
  await writeFile(join(directory, "proxy.yaml"), stringify(configuration));
});
afterAll(async () => {
  for (const { child } of started) child.kill("SIGKILL");
  await cache?.close();
  await rm(directory, { recursive: true, force: true });
});

it("an update leaves no moment without the proxy: not one of the pulls meanwhile fails", async () => {
  let current = start();
  await whenReady(current, management);
  // Twice over each family, on connections of their own: the kernel chooses a process each time.
  const hosts = ["127.0.0.1", "127.0.0.1", "::1", "::1"];
  const pulling = startPullLoops({ hosts, port, path: PATH, pause: PAUSE_MS, timeout: 10_000 });
  for (let update = 0; update < UPDATES; update += 1) {
    // The worst case: the old one is told to go before the new one has opened a port.
    const next = start();
    current.child.kill("SIGTERM");
    expect(await current.exited).toBe(0);
    current = next;
    await whenReady(current, management);
  }
  const { count, failures } = await pulling.end();
  expect(failures).toEqual([]);
  expect(count).toBeGreaterThan(10 * UPDATES);
  current.child.kill("SIGTERM");
});

it("is unready while a process beside it does not serve yet, whoever of the two is asked", async () => {
  const process = start();
  await whenReady(process, management);
  const starting = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => {
    starting.listen({ host: "127.0.0.1", port: managementPort, reusePort: true }, resolve);
  });
  try {
    await eventually(async () => {
      const response = await fetch(`${management}/readyz`, { headers: { connection: "close" } });
      expect(response.status).toBe(503);
      expect(await response.text()).toContain("[-] update: a process on these ports does not serve yet");
    });
  } finally {
    starting.close();
  }
  await whenReady(process, management);
  process.child.kill("SIGTERM");
});

it.each([
  [`[{registry: a.io, credentials: {username: u, passwordFile: /nowhere/p}}]`, "upstreams.0.credentials.passwordFile"],
  [`[{registry: a.io, credentials: {helper: not-there}}]`, "docker-credential-not-there is not on PATH"],
  [`[{registry: a.io, tls: {caFile: /nowhere/ca}}]`, "upstreams.0.tls.caFile"],
])("does not start with credentials that are not there: %s", async (upstreams, problem) => {
  const process = start({ CREG_UPSTREAMS: upstreams });
  expect(await process.exited).toBe(2);
  expect(process.output()).toContain(problem);
});
