import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { pullImageFrame } from "./cri-pull.ts";
import { createHostsToml } from "./hosts-toml.ts";
import { probePull } from "./probe-pull.ts";

let directory: string;
let socket: string;
let runtime: Http2Server | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-probe-"));
  socket = join(directory, "containerd.sock");
});
afterEach(async () => {
  runtime?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Stands for containerd: takes the call, and asks the host that it finds under its config_path. */
async function startRuntime(configPath: string): Promise<Buffer[]> {
  const calls: Buffer[] = [];
  const answer = async (stream: ServerHttp2Stream): Promise<void> => {
    for await (const chunk of stream) calls.push(chunk as Buffer);
    const file = join(configPath, "probe.cache-registry.invalid", "hosts.toml");
    const [, host] = /\[host\."(.*)"\]/.exec(await readFile(file, "utf8").catch(() => "")) ?? [];
    if (host) await fetch(`${host}/v2/probe/manifests/1?ns=probe.cache-registry.invalid`, { method: "HEAD" });
    if (stream.destroyed) return;
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "5" }, { endStream: true });
  };
  runtime = createServer();
  runtime.on("stream", (stream, headers) => {
    if (headers[":path"] === "/runtime.v1.ImageService/PullImage") void answer(stream);
    else stream.close();
  });
  await new Promise<void>((resolve) => runtime?.listen(socket, resolve));
  return calls;
}

it("sees containerd come by its hosts.toml, and leaves nothing behind", async () => {
  const calls = await startRuntime(directory);
  expect(await probePull({ socket, directory })).toEqual({ verified: true });
  expect(Buffer.concat(calls)).toEqual(pullImageFrame("probe.cache-registry.invalid/probe:1"));
  expect(await readdir(directory)).toEqual(["containerd.sock"]);
});

it("that was killed in the middle leaves nothing that a removal does not take away", async () => {
  const certs = join(directory, "certs.d");
  const during: string[] = [];
  runtime = createServer();
  const look = async (stream: ServerHttp2Stream): Promise<void> => {
    // As the kill would leave it.
    await cp(certs, `${certs}.copy`, { recursive: true });
    during.push(...(await readdir(certs)));
    stream.close();
  };
  runtime.on("stream", (stream) => void look(stream));
  await new Promise<void>((resolve) => runtime?.listen(socket, resolve));
  await probePull({ socket, directory: certs });
  expect(during).toEqual(["probe.cache-registry.invalid"]);
  const left = createHostsToml({ directory: `${certs}.copy`, registries: ["_default"], url: "http://127.0.0.1:7439" });
  expect((await left.remove()).size).toBe(0);
  expect(await readdir(`${certs}.copy`)).toEqual([]);
});

it("knows a containerd that looks elsewhere, and one that is not there", async () => {
  await startRuntime("/nowhere");
  const result = await probePull({ socket, directory });
  expect(result).toEqual({ verified: false, why: `containerd does not read ${directory}: set its config_path` });
  const gone = await probePull({ socket: join(directory, "none.sock"), directory });
  expect(gone).toMatchObject({ verified: false, why: expect.stringContaining("ENOENT") });
});

it("writes a message as protocol buffers do", () => {
  expect(pullImageFrame("a/b:1").toString("hex")).toBe("00000000090a070a05612f623a31");
});
