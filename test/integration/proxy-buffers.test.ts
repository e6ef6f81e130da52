import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf } from "@cache-registry/core/digest";
import {
  createScriptedRegistry,
  type ScriptedRegistry,
} from "@cache-registry/registry-client/testing/scripted-registry";
import { afterEach, beforeEach, expect, it } from "vitest";
import { freePort } from "../../hack/cluster/free-port.ts";

/* The proxy in a process of its own, since only there its memory is its own. */

const MIB = 1024 * 1024;
const LARGE = 512 * MIB;
const STREAMS = 3;
/** Over what the process has after its first blob. One blob in memory would be far above. */
const GROWTH = 160;
const chunk = Buffer.alloc(MIB, 7);
const MAIN = new URL("../../packages/proxy/src/main.ts", import.meta.url).href;

let child: ChildProcess;
let cache: ScriptedRegistry;
let upstream: ScriptedRegistry;
let url: string;

/** Sends a blob that exists only while it is sent. */
function serveLarge(registry: ScriptedRegistry): void {
  registry.intercept = (_request, response) => {
    let sent = 0;
    response.writeHead(200, { "content-length": LARGE });
    const write = (): void => {
      while (sent < LARGE && !response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) return void response.once("drain", write);
      }
      response.end();
    };
    write();
    return true;
  };
}

function largeDigest(): string {
  const hash = createHash("sha256");
  for (let sent = 0; sent < LARGE; sent += chunk.length) hash.update(chunk);
  return digestOf("sha256", hash.digest("hex"));
}

/** Bytes received. */
async function drain(digest: string): Promise<number> {
  const request = http.get(`${url}/v2/docker.io/library/nginx/blobs/${digest}`, { agent: false });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let received = 0;
  for await (const data of response) received += (data as Buffer).length;
  return received;
}

/** MiB of memory, now or at its peak. */
async function memory(what: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8");
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
}

beforeEach(async () => {
  cache = await createScriptedRegistry();
  upstream = await createScriptedRegistry();
  const [port, management] = [await freePort(), await freePort()];
  url = `http://127.0.0.1:${port}`;
  const run = `import { runProxy } from ${JSON.stringify(MAIN)}; await runProxy({ env: process.env });`;
  child = spawn(process.execPath, ["--input-type=module", "--eval", run], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      CREG_LISTEN__HOSTS: "[127.0.0.1]",
      CREG_LISTEN__PORT: String(port),
      CREG_MANAGEMENT__PORT: String(management),
      CREG_REGISTRY__URL: cache.url,
      CREG_UPSTREAMS: JSON.stringify([{ registry: "docker.io", endpoints: [upstream.url] }]),
    },
  });
  while ((await fetch(`http://127.0.0.1:${management}/readyz`).catch(() => undefined))?.status !== 200)
    await sleep(100);
});

afterEach(async () => {
  if (child.exitCode === null) child.kill("SIGKILL");
  await Promise.all([cache.stop(), upstream.stop()]);
});

it("large blobs pass through in little memory", async () => {
  const digest = largeDigest();
  serveLarge(cache);
  await drain(digest);
  const warm = await memory("VmRSS");
  const fromCache = await Promise.all(Array.from({ length: STREAMS }, () => drain(digest)));
  expect(fromCache).toEqual(Array(STREAMS).fill(LARGE));
  expect((await memory("VmHWM")) - warm).toBeLessThan(GROWTH);

  await cache.stop();
  serveLarge(upstream);
  expect(await drain(digest)).toBe(LARGE);
  expect((await memory("VmHWM")) - warm).toBeLessThan(GROWTH);
  await cache.start();

  const exit = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exit).toEqual([0, null]);
});
