import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundle } from "../../hack/bundle.ts";
import { freePort } from "../../hack/cluster/free-port.ts";
import { eventually } from "../support/eventually.ts";

/* The bundled proxy in a process of its own between a cache with large blobs and many readers. DESIGN rule 17. */

const MIB = 1024 * 1024;
const BLOB = 256 * MIB;
const READERS = 100;
/** Two per second and reader. */
const SIP = 64 * 1024;
const LIMIT = 128 * MIB;
/** With which the figures of rule 17 are met. */
const FLAGS = ["--optimize-for-size", "--max-old-space-size=64"];
const PATH = `/v2/docker.io/library/large/blobs/sha256:${"a".repeat(64)}`;

/** Every byte says where it is, so that none can be lost, doubled or another stream's. */
const period = Buffer.from(Uint8Array.from({ length: 251 * 1024 }, (_, index) => index % 251));

let directory: string;
let cache: http.Server;
let bodies = 0;
let child: ChildProcess;
let port: number;
const readers: Socket[] = [];

function sendBlob(response: http.ServerResponse): void {
  let sent = 0;
  bodies += 1;
  response.once("close", () => {
    bodies -= 1;
  });
  response.writeHead(200, { "content-length": BLOB });
  const write = (): void => {
    while (sent < BLOB && !response.destroyed) {
      const piece = period.subarray(0, BLOB - sent);
      sent += piece.length;
      if (!response.write(piece)) return void response.once("drain", write);
    }
    response.end();
  };
  write();
}

function residentBytes(): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

/** What a reader has of the body, and whether that is what was sent. */
type Received = { size: number; right: boolean };

function take(received: Received, data: Buffer): void {
  const start = received.size % 251;
  received.right &&= data.equals(period.subarray(start, start + data.length));
  received.size += data.length;
}

/** A client that takes a sip now and then. */
function startSlowReader(): Received {
  const socket = connect(port, "127.0.0.1");
  readers.push(socket);
  const received: Received = { size: 0, right: true };
  let head = Buffer.alloc(0);
  let allowed = SIP;
  socket.on("error", () => undefined);
  socket.on("data", (data) => {
    if (received.size > 0) take(received, data);
    else {
      head = Buffer.concat([head, data]);
      const end = head.indexOf("\r\n\r\n");
      if (end >= 0) take(received, head.subarray(end + 4));
    }
    if (received.size < allowed) return;
    socket.pause();
    allowed = received.size + SIP;
    setTimeout(() => socket.resume(), 500);
  });
  socket.write(`GET ${PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
  return received;
}

/** Reads the whole blob as fast as it comes. */
async function readAll(): Promise<Received> {
  const request = http.get({ port, path: PATH, agent: false });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const received: Received = { size: 0, right: true };
  for await (const data of response as AsyncIterable<Buffer>) take(received, data);
  return received;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-proxy-memory-"));
  await bundle(directory);
  cache = http.createServer((_request, response) => sendBlob(response));
  cache.listen(0, "127.0.0.1");
  await once(cache, "listening");
  port = await freePort();
  const management = await freePort();
  const command = ["--pdeathsig", "KILL", process.execPath, ...FLAGS, join(directory, "main.js"), "proxy"];
  child = spawn("setpriv", command, {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      PATH: process.env.PATH,
      MALLOC_ARENA_MAX: "2",
      CREG_LISTEN__HOSTS: "[127.0.0.1]",
      CREG_LISTEN__PORT: String(port),
      CREG_MANAGEMENT__PORT: String(management),
      // A busy test machine is no cache that is down.
      CREG_REGISTRY: JSON.stringify({
        url: `http://127.0.0.1:${(cache.address() as AddressInfo).port}`,
        connectTimeout: "10s",
      }),
      CREG_LOG__ACCESS: "false",
    },
  });
  await eventually(async () => {
    const { status } = await fetch(`http://127.0.0.1:${management}/readyz`);
    if (status !== 200) throw new Error(`the proxy is not ready: ${status}`);
  });
});

afterAll(async () => {
  for (const reader of readers) reader.destroy();
  child.kill("SIGKILL");
  cache.closeAllConnections();
  cache.close();
  await rm(directory, { recursive: true, force: true });
});

it("many slow readers of large blobs are served in little memory", async () => {
  const received = Array.from({ length: READERS }, startSlowReader);
  await eventually(() => expect(Math.min(...received.map(({ size }) => size))).toBeGreaterThan(4 * SIP));
  expect(bodies).toBe(READERS);
  expect(residentBytes()).toBeLessThan(LIMIT);

  // One that is fast is not held up by them, nor mixed up with them.
  expect(await readAll()).toEqual({ size: BLOB, right: true });
  expect(residentBytes()).toBeLessThan(LIMIT);

  expect(received.every(({ right }) => right)).toBe(true);
  for (const reader of readers) reader.destroy();
  await eventually(() => expect(bodies).toBe(0));
});
