import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import { sleep } from "@cache-registry/runtime/backoff";
import { createLimiter } from "@cache-registry/runtime/limiter";
import { ApiError } from "./api-error.ts";
import { createDeadline } from "./deadline.ts";
import type { Connection, ConnectionSource } from "./kube-config.ts";
import { createPacer } from "./pacer.ts";

export type KubeRequest = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds for the whole answer, or for its headers when streamed. Default 30 s. */
  readonly timeout?: number;
  /** False: a 429 is the caller's to wait out. */
  readonly repeat429?: boolean;
};

export interface Transport {
  /** The parsed JSON body. A 429 is waited out and repeated (it was not processed). @throws ApiError, network errors */
  request(request: KubeRequest): Promise<unknown>;
  /** The body as it arrives; the caller reads it to the end or destroys it. @throws ApiError, network errors */
  stream(request: KubeRequest): Promise<Readable>;
  close(): void;
}

export type TransportOptions = {
  readonly connections: ConnectionSource;
  readonly userAgent: string;
  /** Requests per second, with bursts of twice as many; watches do not count. */
  readonly qps?: number;
};

const DEFAULT_TIMEOUT = 30_000;
const IN_FLIGHT = 16;
const MAX_429_RETRIES = 5;

type Agents = { readonly fingerprint: string; readonly calls: http.Agent; readonly streams: http.Agent };

/**
 * JSON over HTTP/1.1 to the API server. Written on node:https and not on the generated client because a watch needs its
 * own time-outs, Retry-After, and an abort that really closes the connection.
 */
export function createTransport(options: TransportOptions): Transport {
  const { connections, userAgent, qps = 50 } = options;
  const limiter = createLimiter(IN_FLIGHT);
  const pacer = createPacer({ perSecond: qps, burst: qps * 2 });
  let agents: Agents | undefined;

  function agentsFor(connection: Connection): Agents {
    if (agents?.fingerprint === connection.fingerprint) return agents;
    agents?.calls.destroy();
    const create = (maxSockets: number): http.Agent => {
      if (connection.proxied) return connection.proxied;
      return connection.server.protocol === "http:"
        ? new http.Agent({ keepAlive: true, maxSockets })
        : new https.Agent({ ...connection.tls, keepAlive: true, maxSockets });
    };
    agents = {
      fingerprint: connection.fingerprint,
      calls: create(IN_FLIGHT),
      streams: create(Number.POSITIVE_INFINITY),
    };
    return agents;
  }

  async function send(request: KubeRequest, streamed: boolean): Promise<http.IncomingMessage> {
    for (let attempt = 0; ; attempt += 1) {
      const connection = await connections.current();
      const { calls, streams } = agentsFor(connection);
      const sent = { request, connection, agent: streamed ? streams : calls, userAgent };
      const outcome = await exchange(sent).catch((error: unknown) => {
        dropIdle(sent.agent);
        // A kept-alive connection that the server closed while we wrote to it: nobody read the request.
        if (attempt === 0 && isStaleSocket(error)) return undefined;
        throw error;
      });
      if (outcome === undefined) continue;
      if (outcome.statusCode !== 401 || attempt > 0) return outcome;
      outcome.resume();
      connections.invalidate();
    }
  }

  async function once(request: KubeRequest): Promise<unknown> {
    const deadline = createDeadline(request.timeout ?? DEFAULT_TIMEOUT, request.signal);
    try {
      const response = await send({ ...request, signal: deadline.signal }, false);
      const text = await readText(response);
      if (isOk(response)) return text === "" ? undefined : JSON.parse(text);
      throw errorOf(response, text);
    } finally {
      deadline.end();
    }
  }

  return {
    async request(request) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await pacer.take(request.signal);
          return await limiter.run(() => once(request), { signal: request.signal });
        } catch (error) {
          if (!(error instanceof ApiError) || error.status !== 429 || attempt > MAX_429_RETRIES) throw error;
          if (request.repeat429 === false) throw error;
          await sleep(error.retryAfter ?? 1_000, request.signal);
        }
      }
    },
    async stream(request) {
      const deadline = createDeadline(request.timeout ?? DEFAULT_TIMEOUT, request.signal);
      try {
        const response = await send({ ...request, signal: deadline.signal }, true);
        if (!isOk(response)) throw errorOf(response, await readText(response));
        deadline.lift();
        return response.once("close", () => deadline.end());
      } catch (error) {
        deadline.end();
        throw error;
      }
    },
    close() {
      agents?.calls.destroy();
      agents?.streams.destroy();
    },
  };
}

type Sent = { request: KubeRequest; connection: Connection; agent: http.Agent; userAgent: string };

/** One request on the wire, up to the headers of the answer. */
function exchange({ request, connection, agent, userAgent }: Sent): Promise<http.IncomingMessage> {
  const url = urlOf(connection.server, request);
  const body = request.body === undefined ? undefined : JSON.stringify(request.body);
  const headers: Record<string, string | number> = { ...connection.headers, accept: "application/json" };
  headers["user-agent"] = userAgent;
  if (body !== undefined) {
    headers["content-type"] = request.contentType ?? "application/json";
    headers["content-length"] = Buffer.byteLength(body);
  }
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const open = url.protocol === "http:" ? http.request : https.request;
  const call = open(url, { method: request.method, agent, headers, signal: request.signal }, resolve);
  call.on("error", (error: NodeJS.ErrnoException) => {
    if (request.signal?.aborted) reject(request.signal.reason);
    else reject(call.reusedSocket && error.code === "ECONNRESET" ? new StaleSocket({ cause: error }) : error);
  });
  call.end(body);
  return promise;
}

/** What else is kept alive may lead to the same dead server, and would cost a time-out each. */
function dropIdle(agent: http.Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

class StaleSocket extends Error {
  constructor(options: ErrorOptions) {
    super("the API server closed a kept-alive connection", options);
  }
}

function isStaleSocket(error: unknown): boolean {
  return error instanceof StaleSocket;
}

function urlOf(server: URL, request: KubeRequest): URL {
  const url = new URL(server);
  url.pathname = `${server.pathname.replace(/\/$/, "")}${request.path}`;
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

async function readText(response: http.IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

function isOk(response: http.IncomingMessage): boolean {
  return response.statusCode !== undefined && response.statusCode >= 200 && response.statusCode < 300;
}

function errorOf(response: http.IncomingMessage, text: string): ApiError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined; // a proxy in front of the API server answers in its own words
  }
  return new ApiError(response.statusCode ?? 0, body, response.headers["retry-after"]);
}
