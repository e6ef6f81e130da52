import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { createOrigin, dismiss, type Origin } from "./origin.ts";
import { makeCertificate } from "./testing/certificate.ts";

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Started = { readonly origin: Origin; readonly connections: () => number };

async function start(listener: http.RequestListener, options: object = {}): Promise<Started> {
  const server = http.createServer(listener);
  let connections = 0;
  server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/below`;
  const origin = createOrigin({ url, connectTimeout: 1000, headersTimeout: 300, idleTimeout: 300, ...options });
  closing.push(
    () => server.close(),
    () => server.closeAllConnections(),
    () => origin.close(),
  );
  return { origin, connections: () => connections };
}

/** Where the times are not what is tested: forty streams of a busy machine. */
const PATIENT = { headersTimeout: 10_000, idleTimeout: 10_000 };
const get = (path: string) => ({ method: "GET", path, signal: AbortSignal.timeout(15_000) }) as const;

describe("bodies", () => {
  it("of many streams at different paces do not mix", async () => {
    const blobs = Array.from({ length: 40 }, () => randomBytes(300_000));
    const { origin } = await start((request, response) => {
      const index = Number(/^\/below\/(\d+)$/.exec(request.url ?? "")?.[1]);
      // Half of them with a length, half in pieces.
      if (index % 2 === 0) response.setHeader("content-length", 300_000);
      response.write(blobs[index]?.subarray(0, 1000));
      setTimeout(() => response.end(blobs[index]?.subarray(1000)), index);
    }, PATIENT);
    const received = await Promise.all(
      blobs.map(async (_blob, index) => {
        const { body } = await origin.send(get(`/${index}`));
        const chunks: Buffer[] = [];
        for await (const chunk of body as AsyncIterable<Buffer>) {
          if (chunks.length < 5) await sleep(index % 7);
          chunks.push(chunk);
        }
        return Buffer.concat(chunks);
      }),
    );
    expect(received.map((bytes, index) => bytes.equals(blobs[index] ?? Buffer.alloc(0)))).toEqual(
      blobs.map(() => true),
    );
  });

  it("leave a connection that is used again, also when they are dismissed", async () => {
    const { origin, connections } = await start((_request, response) => response.end("short"));
    expect(await text((await origin.send(get("/a"))).body)).toBe("short");
    await sleep(20);
    dismiss(await origin.send(get("/b")));
    await sleep(20);
    dismiss(await origin.send({ ...get("/c"), method: "HEAD" }));
    expect(connections()).toBe(1);
  });

  it("that are long are cut when they are dismissed", async () => {
    let cut = false;
    const { origin } = await start((_request, response) => {
      response.once("close", () => {
        cut = true;
      });
      response.writeHead(200, { "content-length": 1e9 }).write(Buffer.alloc(200_000));
    });
    dismiss(await origin.send(get("/a")));
    await expect.poll(() => cut).toBe(true);
  });
});

describe("time-outs", () => {
  it("of an answer", async () => {
    const { origin } = await start(() => undefined);
    await expect(origin.send(get("/a"))).rejects.toMatchObject({ code: "ERR_HEADERS_TIMEOUT" });
  });

  it("of a body that stands still", async () => {
    const { origin } = await start((_request, response) => void response.write("some"));
    const { body } = await origin.send(get("/a"));
    await expect(buffer(body)).rejects.toMatchObject({ code: "ERR_BODY_TIMEOUT" });
  });

  it("do not strike a reader that is slow", async () => {
    const { origin } = await start((_request, response) => void response.end(Buffer.alloc(1_000_000)));
    const { body } = await origin.send(get("/a"));
    await sleep(1000);
    expect(await buffer(body)).toHaveLength(1_000_000);
  });
});

it("a caller that leaves cuts the body", async () => {
  const { origin } = await start((_request, response) => void response.write("some"));
  const leave = new AbortController();
  const { body } = await origin.send({ ...get("/a"), signal: leave.signal });
  setTimeout(() => leave.abort(), 20);
  await expect(buffer(body)).rejects.toBeInstanceOf(Error);
});

describe("a server over TLS", () => {
  async function startSecure(options: object) {
    const folder = mkdtempSync(join(tmpdir(), "origin-tls-"));
    const { certFile, keyFile } = makeCertificate(folder, "server");
    const server = https.createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (_, response) => {
      response.end("hello");
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.2", resolve));
    const url = `https://127.0.0.2:${(server.address() as AddressInfo).port}`;
    const origin = createOrigin({ url, connectTimeout: 5000, ...PATIENT, caFile: certFile, ...options });
    closing.push(
      () => rmSync(folder, { recursive: true }),
      () => server.close(),
      () => server.closeAllConnections(),
      () => origin.close(),
    );
    return { origin, certFile };
  }
  const answer = async (origin: Origin) => text((await origin.send(get("/"))).body);

  it("is known by its authority, and by a name where the URL has an address", async () => {
    const { origin } = await startSecure({ serverName: "localhost" });
    expect(await answer(origin)).toBe("hello");
  });

  it("is refused under another name, and without its authority", async () => {
    const { origin } = await startSecure({});
    await expect(answer(origin)).rejects.toThrow(/127\.0\.0\.2 is not in the cert's list/);
    const { origin: stranger } = await startSecure({ caFile: undefined, serverName: "localhost" });
    await expect(answer(stranger)).rejects.toThrow(/self-signed certificate/);
  });

  it("fails while the authority's file is away, and is reached again when it is back", async () => {
    const { origin, certFile } = await startSecure({ serverName: "localhost" });
    renameSync(certFile, `${certFile}.away`);
    await expect(answer(origin)).rejects.toThrow(/ENOENT/);
    renameSync(`${certFile}.away`, certFile);
    expect(await answer(origin)).toBe("hello");
  });
});
