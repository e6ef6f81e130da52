import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { CodedError } from "@cache-registry/core/errors";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyListenOptions,
  type FastifyReply,
  fastify,
  LogController,
} from "fastify";
import { applyCertificate, type Certificate } from "./certificate.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { createErrorHandler, rawErrorResponse } from "./server/error-response.ts";
import { createRequestObserver } from "./server/request-observer.ts";

/** Manifests (4 MiB) and admission reviews are larger than fastify's 1 MiB. */
const DEFAULT_BODY_LIMIT = 8 * 1024 * 1024;
/** An image reference with its slashes encoded is longer than fastify's 100 characters. */
const MAX_PARAM_LENGTH = 2048;
/** Request headers: registry tokens are large, floods are larger. */
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_HEADERS = 100;
const HEADERS_TIMEOUT = 20_000;
/** Longer than the 90 s of Go's HTTP clients (API server, containerd), so that the client closes first. */
const KEEP_ALIVE_TIMEOUT = 100_000;
/** A connection on which no byte moves. Longer than any wait for an upstream's headers. */
const DEFAULT_IDLE_TIMEOUT = 120_000;
const IDLE_CHECK_WHILE_CLOSING = 100;

export type ServerOptions = {
  readonly logger: Logger;
  /** In log lines and metrics: `registry`, `management`, … */
  readonly name: string;
  /** HTTPS with this certificate, also after it changed; plain HTTP when missing. */
  readonly certificate?: Certificate | undefined;
  /** Bytes, for bodies that are parsed as a whole; streamed bodies are not limited. */
  readonly bodyLimit?: number;
  /** One log line per request. */
  readonly accessLog?: boolean;
  /** What the line says beside what it says of every request. */
  readonly accessDetails?: (reply: FastifyReply) => object;
  readonly metrics?: Metrics;
  /** Milliseconds without any byte on a connection with a request. */
  readonly idleTimeout?: number;
  /** More connections than this are closed at once. */
  readonly maxConnections?: number;
};

function createNodeServer(options: ServerOptions, handler: http.RequestListener): http.Server {
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT,
    // Bodies may take as long as they like while bytes move: the idle timeout ends the others.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
    connectionsCheckingInterval: 5_000,
    noDelay: true,
    // Node's own answer has no body; ours says what is wrong.
    requireHostHeader: false,
  };
  const { certificate } = options;
  const server = certificate
    ? https.createServer({ ...limits, ...certificate.pair(), minVersion: "TLSv1.2" }, handler)
    : http.createServer(limits, handler);
  if (certificate && server instanceof https.Server) {
    server.once("close", applyCertificate(server, certificate));
  }
  server.maxHeadersCount = MAX_HEADERS;
  server.setTimeout(options.idleTimeout ?? DEFAULT_IDLE_TIMEOUT);
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  return server;
}

/** Node closes the idle connections once; those that finish a response later would stay for the keep-alive timeout. */
function closeConnectionsOnceIdle(server: http.Server): void {
  const timer = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_WHILE_CLOSING);
  server.once("close", () => clearInterval(timer));
}

/**
 * A fastify instance with our limits, one error handler and one access log. Routes throw CodedErrors. HEAD routes are
 * declared by hand. `close()` lets running requests finish.
 */
export function createServer(options: ServerOptions): FastifyInstance {
  const { name, accessLog = true, metrics } = options;
  const logger = options.logger.child({ server: name });
  const handleError = createErrorHandler(logger);
  const server = fastify({
    serverFactory: (handler) => createNodeServer(options, handler),
    loggerInstance: logger as FastifyBaseLogger,
    // The observer below logs requests; a child logger per request is not free.
    logController: new LogController({ disableRequestLogging: true }),
    childLoggerFactory: (parent) => parent,
    bodyLimit: options.bodyLimit ?? DEFAULT_BODY_LIMIT,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    exposeHeadRoutes: false,
    forceCloseConnections: "idle",
    // A request that arrives on an open connection while draining is still served, with `Connection: close`.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      handleError(error, request, reply);
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === "ECONNRESET" || !socket.writable) socket.destroy();
      else socket.end(rawErrorResponse(error));
    },
  });
  server.addHook("preClose", async () => closeConnectionsOnceIdle(server.server));
  server.addHook("onRequest", (request, reply, done) => {
    // Names and annotations come from anybody; no browser may take an answer for a page.
    reply.header("x-content-type-options", "nosniff");
    const anonymous = request.headers.host === undefined && request.raw.httpVersionMinor === 1;
    done(anonymous ? new CodedError("BAD_REQUEST", "the Host header is missing") : undefined);
  });
  server.addHook(
    "onRequest",
    createRequestObserver({ logger, name, accessLog, metrics, accessDetails: options.accessDetails }),
  );
  server.setErrorHandler(handleError);
  server.setNotFoundHandler(() => {
    throw new CodedError("NOT_FOUND", "no such endpoint");
  });
  return server;
}

export type ListenOptions = {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Share the port with another process (SO_REUSEPORT), for upgrades without a gap. */
  readonly reusePort?: boolean;
};

export type BoundAddress = { readonly host: string; readonly port: number; readonly url: string };

/** @throws Error of the system, e.g. EADDRINUSE */
export async function listen(server: FastifyInstance, options: ListenOptions): Promise<BoundAddress> {
  const { log } = server;
  const { level } = log;
  // fastify writes one line per network interface; ours is enough.
  if (log.level !== "silent") log.level = "warn";
  try {
    // reusePort is handed to net.Server.listen, though fastify's types do not know it.
    const listenOptions: FastifyListenOptions & { readonly reusePort?: boolean } = { ...options };
    await server.listen(listenOptions);
  } finally {
    log.level = level;
  }
  const { address, port, family } = server.server.address() as AddressInfo;
  const scheme = server.server instanceof https.Server ? "https" : "http";
  const url = `${scheme}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  log.info({ url }, "listening");
  return { host: address, port, url };
}
