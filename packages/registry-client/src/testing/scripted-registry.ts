import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { MEDIA_TYPES } from "@cache-registry/core/media-type";
import { digestOfBytes } from "@cache-registry/core/verify";

/*
 * For tests: a registry over plain HTTP on loopback that holds what it is given, counts what it is asked, and misbehaves on
 * request.
 */

export type RecordedRequest = {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
};

/** Takes a request over; `false` leaves it to the registry. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

export type ScriptedRegistry = {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly requests: RecordedRequest[];
  /** Asked before every answer while set. */
  intercept: Intercept | undefined;
  /** Returns the digest. */
  addBlob(bytes: Buffer): string;
  /** Below the repository, by digest and, when given, by tag. Returns the digest. */
  addManifest(repository: string, bytes: Buffer, tag?: string): string;
  /** Connections are refused until `start`. */
  stop(): Promise<void>;
  /** On the same port again. */
  start(): Promise<void>;
};

/** A small image manifest as bytes, different for every `name`. */
export function manifestBytes(name: string): Buffer {
  const digest = digestOfBytes(Buffer.from(name));
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, digest, size: name.length },
      layers: [],
    }),
  );
}

/** Answers JSON with a status. */
export function answerJson(response: ServerResponse, status: number, body: unknown, headers: object = {}): true {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  return true;
}

function sendBytes(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = range ? Number(range[1]) : 0;
  const end = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1;
  if (range && start >= bytes.length) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return;
  }
  if (range) response.setHeader("content-range", `bytes ${start}-${end}/${bytes.length}`);
  response.writeHead(range ? 206 : 200, { "content-length": end - start + 1, "accept-ranges": "bytes" });
  response.end(request.method === "HEAD" ? undefined : bytes.subarray(start, end + 1));
}

export async function createScriptedRegistry(): Promise<ScriptedRegistry> {
  const blobs = new Map<string, Buffer>();
  const manifests = new Map<string, Buffer>();

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? "/", "http://registry");
    const [, repository = "", kind, reference = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    const bytes = kind === "blobs" ? blobs.get(reference) : manifests.get(`${repository} ${reference}`);
    if (pathname === "/v2/") answerJson(response, 200, {});
    else if (!bytes) answerJson(response, 404, { errors: [{ code: "NOT_FOUND", message: "not here" }] });
    else {
      response.setHeader("docker-content-digest", digestOfBytes(bytes));
      response.setHeader("content-type", kind === "blobs" ? "application/octet-stream" : MEDIA_TYPES.ociManifest);
      sendBytes(request, response, bytes);
    }
  }

  const server = createServer((request, response) => {
    const { method = "", url = "", headers } = request;
    registry.requests.push({ method, url, headers });
    if (!registry.intercept?.(request, response)) answer(request, response);
  });

  async function listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  const port = await listen(0);
  const registry: ScriptedRegistry = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    requests: [],
    intercept: undefined,
    addBlob(bytes) {
      const digest = digestOfBytes(bytes);
      blobs.set(digest, bytes);
      return digest;
    },
    addManifest(repository, bytes, tag) {
      const digest = digestOfBytes(bytes);
      manifests.set(`${repository} ${digest}`, bytes);
      if (tag !== undefined) manifests.set(`${repository} ${tag}`, bytes);
      return digest;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    async start() {
      await listen(port);
    },
  };
  return registry;
}
