import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { freePort } from "./free-port.ts";
import { createPacer, type Pacer } from "./pacer.ts";

export interface UpstreamOptions {
  /** Base URL of the registry it stands in front of. */
  readonly target: string;
  /** Default 0.0.0.0: pods reach it at the bridge address. */
  readonly host?: string;
  /** Default: a free one. */
  readonly port?: number;
}

interface Traffic {
  /** Requests received, answered or not. */
  requests: number;
  /** Body bytes handed to clients. */
  bytes: number;
}

interface Cut {
  readonly pathMatch: RegExp;
  /** Body bytes that still pass before the connection breaks. */
  readonly afterBytes: number;
}

export interface Refusal {
  /** 429, 500, … */
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: every path. */
  readonly pathMatch?: RegExp;
  /** Who brings this `Authorization` is let in. */
  readonly unlessAuthorization?: string;
}

export interface Upstream {
  readonly port: number;
  /** As this machine reaches it. */
  readonly url: string;
  /** `"GET /v2/library/x/blobs/sha256:…"` → traffic since the last reset; the query is left out. */
  counts(): Record<string, Traffic>;
  reset(): void;
  /** Breaks every connection and refuses new ones. */
  off(): Promise<void>;
  on(): Promise<void>;
  /** Limits the bytes per second of all answers together; undefined: no limit. */
  throttle(bytesPerSecond: number | undefined): void;
  /** Answers requests itself, with a status and no body, until told otherwise by undefined. */
  refuse(refusal: Refusal | undefined): void;
  /** Breaks the next answer whose path matches, once. */
  cutOnce(cut: Cut): void;
  close(): Promise<void>;
}

/** A counting reverse proxy: the place where a test sees, slows down and breaks what a cache asks of its upstream. */
export async function startUpstream({ target, host = "0.0.0.0", port }: UpstreamOptions): Promise<Upstream> {
  const traffic = new Map<string, Traffic>();
  const pacer = createPacer();
  const sockets = new Set<Socket>();
  let cuts: Cut[] = [];
  let refusing: Refusal | undefined;
  const takeCut = (path: string) => {
    const cut = cuts.find(({ pathMatch }) => pathMatch.test(path));
    cuts = cuts.filter((other) => other !== cut);
    return cut;
  };
  const server = createServer((incoming, outgoing) => {
    const path = (incoming.url ?? "/").split("?")[0] ?? "/";
    const key = `${incoming.method} ${path}`;
    const count = traffic.get(key) ?? { requests: 0, bytes: 0 };
    traffic.set(key, count);
    count.requests += 1;
    const { authorization } = incoming.headers;
    const letIn = authorization !== undefined && authorization === refusing?.unlessAuthorization;
    if (refusing && !letIn && (refusing.pathMatch?.test(path) ?? true)) {
      incoming.resume();
      outgoing.writeHead(refusing.status, refusing.headers).end();
      return;
    }
    const meter = createMeter({ count, pacer, cut: incoming.method === "GET" ? takeCut(path) : undefined });
    forward(target, { incoming, outgoing, meter }).catch(() => outgoing.destroy());
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const listen = (on: number) =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(on, host, () => {
        server.removeListener("error", reject);
        resolve();
      });
    });
  const off = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  // Not one of the kernel's choice: another program could get it while this is off.
  await listen(port ?? (await freePort()));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error(`no port on ${host}`);
  return {
    port: address.port,
    url: `http://${host === "0.0.0.0" ? "127.0.0.1" : host}:${address.port}`,
    counts: () => Object.fromEntries([...traffic].map(([key, count]) => [key, { ...count }])),
    reset: () => traffic.clear(),
    off,
    on: async () => {
      if (!server.listening) await listen(address.port);
    },
    throttle: pacer.limit,
    refuse: (refusal) => {
      refusing = refusal;
    },
    cutOnce: (cut) => {
      cuts.push(cut);
    },
    close: off,
  };
}

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly meter: Transform;
}

async function forward(target: string, { incoming, outgoing, meter }: Exchange): Promise<void> {
  const { method, url, headers } = incoming;
  // The Host header goes along, so that Location headers of the registry lead back here.
  const asking = request(new URL(url ?? "/", target), { method, headers, agent: false });
  outgoing.once("close", () => asking.destroy());
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    asking.once("response", resolve);
    asking.once("error", reject);
  });
  // A registry may answer an upload it refuses before the body is read, which breaks this pipe and is no error here.
  pipeline(incoming, asking).catch(() => undefined);
  const response = await answer;
  outgoing.writeHead(response.statusCode ?? 502, response.headers);
  outgoing.flushHeaders();
  await pipeline(response, meter, outgoing);
}

interface MeterOptions {
  readonly count: Traffic;
  readonly pacer: Pacer;
  readonly cut: Cut | undefined;
}

/** Passes bytes on at the common pace, counts them, and fails after as many as the cut allows. */
function createMeter({ count, pacer, cut }: MeterOptions): Transform {
  let left = cut?.afterBytes ?? Number.POSITIVE_INFINITY;
  async function pass(stream: Transform, chunk: Buffer): Promise<void> {
    const passing = chunk.subarray(0, left);
    left -= passing.length;
    for (let offset = 0; offset < passing.length; offset += PACE_BYTES) {
      const piece = passing.subarray(offset, offset + PACE_BYTES);
      await pacer.take(piece.length);
      count.bytes += piece.length;
      stream.push(piece);
    }
    // What was pushed must be on the wire before the connection breaks.
    if (left === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      pass(this, chunk).then(() => done(left === 0 ? new Error("cut") : null), done);
    },
  });
}

const PACE_BYTES = 16_384;
