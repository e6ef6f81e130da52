import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, runCommand, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, randomBlob } from "../support/test-content.ts";

const MiB = 2 ** 20;
let registry: RegistryProcess;
let api: RegistryApi;
const sockets = new Set<Socket>();

beforeEach(async () => {
  registry = await startRegistryProcess();
  api = createRegistryApi(registry.url);
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await registry.dispose();
});

async function pushed(size: number): Promise<{ blob: Blob; path: string; url: string }> {
  const blob = randomBlob(size);
  await api.pushBlob("streams/app", blob);
  const path = `/v2/streams/app/blobs/${blob.digest}`;
  return { blob, path, url: `${registry.url}${path}` };
}

/** A client that asks and does not read on. Resolves with the status line's number once the answer begins. */
async function stuckClient(path: string): Promise<{ status: number; head: string; socket: Socket }> {
  const { hostname, port } = new URL(registry.url);
  const socket = connect(Number(port), hostname);
  sockets.add(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [chunk] = (await once(socket, "data")) as [Buffer];
  socket.pause();
  const head = chunk.toString("latin1", 0, chunk.indexOf("\r\n\r\n"));
  return { status: Number(head.split(" ")[1]), head, socket };
}

describe("many slow readers", () => {
  it("of a 256 MiB blob cost little memory", async () => {
    const { path } = await pushed(256 * MiB);
    const before = registry.residentBytes();
    const clients = await Promise.all(Array.from({ length: 30 }, () => stuckClient(path)));
    expect(clients.map(({ status }) => status)).toEqual(Array(30).fill(200));
    let most = 0;
    for (let reads = 0; reads < 20; reads += 1) {
      for (const { socket } of clients) socket.read(256 * 1024);
      await new Promise((resolve) => setTimeout(resolve, 50));
      most = Math.max(most, registry.residentBytes());
    }
    console.info(`30 slow readers: ${Math.round(before / MiB)} → at most ${Math.round(most / MiB)} MiB`);
    expect(most).toBeLessThan(256 * MiB);
  });

  it("beyond the buffer pool are told to come back, and find room when others leave", async () => {
    const { blob, path, url } = await pushed(32 * MiB);
    const clients: Awaited<ReturnType<typeof stuckClient>>[] = [];
    // 64 MiB hold 64 streams with large buffers and 256 with small ones.
    for (let batch = 0; batch < 13; batch += 1) {
      clients.push(...(await Promise.all(Array.from({ length: 32 }, () => stuckClient(path)))));
      if (clients.some(({ status }) => status === 503)) break;
    }
    const refused = clients.find(({ status }) => status === 503);
    expect(refused?.head.toLowerCase()).toContain("retry-after: 1");
    expect(registry.residentBytes()).toBeLessThan(320 * MiB);
    // What needs no buffers goes on.
    expect((await api.request("HEAD", path)).status).toBe(200);
    for (const { socket } of clients.slice(0, 100)) socket.destroy();
    await eventually(async () => expect(await download(url)).toMatchObject({ status: 200, digest: blob.digest }));
    for (const { socket } of clients) socket.destroy();
    await eventually(async () => {
      const metrics = await (await fetch(`${registry.management}/metrics`)).text();
      expect(metrics.match(/^cache_registry_buffer_pool_in_use_bytes .*$/m)?.[0]).toMatch(/ 0$/);
    });
  });
});

describe("SIGTERM", () => {
  it("lets running transfers finish, takes no new connections, and ends with 0", async () => {
    const { blob, url } = await pushed(16 * MiB);
    const upload = randomBlob(MiB);
    const begun = await api.request("POST", "streams/app/blobs/uploads/");
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        for (let at = 0; at < MiB; at += MiB / 8) {
          controller.enqueue(upload.bytes.subarray(at, at + MiB / 8));
          await new Promise((resolve) => setTimeout(resolve, 150));
        }
        controller.close();
      },
    });
    const location = `${begun.headers.get("location")}?digest=${upload.digest}`;
    const uploading = api.request("PUT", location, { body });
    const downloading = download(url, { pace: 12e6 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    registry.terminate();
    await eventually(async () => {
      await expect(download(`${registry.url}/v2/`)).rejects.toThrow("ECONNREFUSED");
    });
    expect(await downloading).toMatchObject({ digest: blob.digest, cut: false });
    expect((await uploading).status).toBe(201);
    expect(await registry.exited).toBe(0);
    await registry.start();
    expect(await api.get(`streams/app/blobs/${upload.digest}`)).toEqual(upload.bytes);
  });

  it("ends at once when nobody is there, keep-alive connections or not", async () => {
    await api.request("GET", "/v2/");
    const started = performance.now();
    expect(await registry.stop()).toBe(0);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

it("ends a second process on the same folder without harm to the first", async () => {
  const { blob, path } = await pushed(MiB);
  const env = { CREG_LISTEN__PORT: "0", CREG_MANAGEMENT__PORT: "0" };
  const second = runCommand(["registry", "--config", `${registry.directory}/registry.yaml`], {
    cwd: registry.directory,
    env,
  });
  expect(await second.exited).toBe(1);
  expect(second.output()).not.toContain('"msg":"ready"');
  expect(await api.get(path)).toEqual(blob.bytes);
});
