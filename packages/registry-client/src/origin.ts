import { readFileSync } from "node:fs";
import http, { type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import https from "node:https";
import type { Socket, TcpNetConnectOpts } from "node:net";
import type { ConnectionOptions as TlsConnectOptions } from "node:tls";
import { urlToHttpOptions } from "node:url";
import { connectFrugally } from "./frugal-socket.ts";

export type OriginRequest = {
  readonly method: "GET" | "HEAD";
  /** Path and query, below the path of the origin's URL. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

/** Its body must be read or dismissed. */
export type OriginResponse = {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  /** Over plain HTTP it holds one chunk at most until it is read, and each chunk has its memory for itself. */
  readonly body: IncomingMessage;
};

/**
 * One HTTP server that configuration names, with pooled connections: no redirects, no retry, no authentication. Made
 * for many slow readers at once in little memory.
 */
export type Origin = {
  /** @throws OriginTimeoutError, an error of the system, or an AbortError */
  send(request: OriginRequest): Promise<OriginResponse>;
  /** Cuts what is still running. */
  close(): Promise<void>;
};

/** How the server proves who it is, with https. */
export type OriginTrust = {
  /** Certificates that the server's must lead to, PEM, instead of the system's; read for each new connection. */
  readonly caFile?: string | undefined;
  /** The name in the server's certificate, where the URL has an address. */
  readonly serverName?: string | undefined;
};

/** Times in milliseconds. */
export type OriginOptions = OriginTrust & {
  readonly url: string;
  readonly connectTimeout: number;
  readonly headersTimeout: number;
  /** Without a byte in the middle of a body, while somebody waits for one. */
  readonly idleTimeout: number;
};

export class OriginTimeoutError extends Error {
  override readonly name = "OriginTimeoutError";
  readonly code: "ERR_CONNECT_TIMEOUT" | "ERR_HEADERS_TIMEOUT" | "ERR_BODY_TIMEOUT";

  constructor(code: OriginTimeoutError["code"], milliseconds: number) {
    super(`nothing for ${milliseconds} ms`);
    this.code = code;
  }
}

const KEEP_ALIVE_MS = 20_000;
const MAX_IDLE_CONNECTIONS = 16;
const MAX_DISMISSED_BYTES = 64 * 1024;
/** How often in an idle time-out a body is looked at. */
const LOOKS = 4;

type AgentOptions = Pick<OriginOptions, "connectTimeout" | keyof OriginTrust> & { readonly secure: boolean };

/** A file that is not there fails the connection, not the process: the cache is then away. */
function trustOf({ caFile, serverName }: OriginTrust): TlsConnectOptions {
  return {
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

function createAgent({ secure, connectTimeout, ...trust }: AgentOptions): http.Agent {
  const options = { keepAlive: true, maxFreeSockets: MAX_IDLE_CONNECTIONS, timeout: KEEP_ALIVE_MS };
  const agent = secure ? new https.Agent(options) : new http.Agent(options);
  const createSecure = agent.createConnection.bind(agent);
  const connect = secure
    ? (to: http.ClientRequestArgs, callback?: Parameters<typeof createSecure>[1]) =>
        createSecure({ ...to, ...trustOf(trust) }, callback)
    : (to: http.ClientRequestArgs) => connectFrugally(to as TcpNetConnectOpts);
  agent.createConnection = (to, callback) => {
    const socket = connect(to, callback) as Socket;
    const fail = (): unknown => socket.destroy(new OriginTimeoutError("ERR_CONNECT_TIMEOUT", connectTimeout));
    let connecting = true;
    // After a busy moment the connection may stand already, and only the news of it waits: it is heard first.
    const timer = setTimeout(() => setImmediate(() => connecting && fail()), connectTimeout);
    const stop = (): void => {
      connecting = false;
      clearTimeout(timer);
    };
    socket.once(secure ? "secureConnect" : "connect", stop).once("close", stop);
    return socket;
  };
  return agent;
}

/** Fails a body that stands still although its reader waits. One that nobody reads from may stand still. */
function limitIdleTime(message: IncomingMessage, milliseconds: number): void {
  const { socket } = message;
  let seen = socket.bytesRead;
  let since = performance.now();
  const timer = setInterval(() => {
    if (message.readableLength > 0 || socket.bytesRead !== seen) {
      seen = socket.bytesRead;
      since = performance.now();
    } else if (performance.now() - since >= milliseconds) {
      message.destroy(new OriginTimeoutError("ERR_BODY_TIMEOUT", milliseconds));
    }
  }, milliseconds / LOOKS);
  timer.unref();
  message.once("close", () => clearInterval(timer));
}

export function createOrigin(options: OriginOptions): Origin {
  const { url, headersTimeout, idleTimeout } = options;
  const parsed = new URL(url);
  const { protocol, hostname, port } = urlToHttpOptions(parsed);
  const prefix = parsed.pathname.replace(/\/$/, "");
  const secure = protocol === "https:";
  const agent = createAgent({ ...options, secure });
  const open = secure ? https.request : http.request;

  function send({ method, path, headers, signal }: OriginRequest): Promise<OriginResponse> {
    return new Promise((resolve, reject) => {
      const request = open({
        hostname,
        port,
        agent,
        method,
        path: `${prefix}${path}`,
        headers: { ...headers },
        signal,
      });
      const fail = (): unknown => request.destroy(new OriginTimeoutError("ERR_HEADERS_TIMEOUT", headersTimeout));
      const timer = setTimeout(fail, headersTimeout);
      // Stays: an error may come after the answer too, and then the body tells it.
      request.on("error", reject);
      request.once("close", () => clearTimeout(timer));
      request.once("response", (body) => {
        clearTimeout(timer);
        limitIdleTime(body, idleTimeout);
        // Whoever reads it learns of a failure; one that comes before anyone does must not end the process.
        body.on("error", () => undefined);
        resolve({ statusCode: body.statusCode ?? 0, headers: body.headers, body });
      });
      request.end();
    });
  }

  return { send, close: async () => agent.destroy() };
}

/** Frees the connection of an answer whose body nobody wants; a long body is cut. */
export function dismiss({ body }: OriginResponse): void {
  let left = MAX_DISMISSED_BYTES;
  body.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) body.destroy();
  });
}
