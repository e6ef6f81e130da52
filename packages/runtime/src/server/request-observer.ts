import type { FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics.ts";
import { pathOf } from "./error-response.ts";

export type RequestObserverOptions = {
  readonly logger: Logger;
  readonly name: string;
  readonly accessLog: boolean;
  readonly metrics: Metrics | undefined;
  readonly accessDetails: ((reply: FastifyReply) => object) | undefined;
};

function namespaceOf(request: FastifyRequest): string | undefined {
  const { ns } = request.query as { ns?: unknown };
  return typeof ns === "string" ? ns : undefined;
}

/**
 * An onRequest hook that logs and counts every request when its response is over, whole or cut. (fastify's own
 * onResponse says nothing about responses that the client left.)
 */
export function createRequestObserver(options: RequestObserverOptions) {
  const { logger, name, accessLog, metrics, accessDetails } = options;
  const requests = metrics?.counter({
    name: "http_requests_total",
    help: "HTTP requests by server, method, route and status; status aborted: the client left",
    labels: ["server", "method", "route", "status"],
  });
  const durations = metrics?.histogram({
    name: "http_request_duration_seconds",
    help: "Time until the response was sent whole or cut",
    labels: ["server", "method", "route"],
  });

  return function observeRequest(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const started = performance.now();
    const { socket } = request.raw;
    const { bytesWritten, remoteAddress } = socket;
    reply.raw.once("close", () => {
      const seconds = (performance.now() - started) / 1000;
      const aborted = !reply.raw.writableFinished;
      const { method } = request;
      const status = reply.raw.statusCode;
      const route = request.routeOptions.url ?? "none";
      requests?.inc({ server: name, method, route, status: aborted ? "aborted" : String(status) });
      durations?.observe({ server: name, method, route }, seconds);
      if (!accessLog) return;
      const ns = namespaceOf(request);
      const line = {
        method,
        path: pathOf(request),
        ...(ns === undefined ? {} : { ns }),
        status,
        ...(aborted ? { aborted } : {}),
        bytes: socket.bytesWritten - bytesWritten,
        ...accessDetails?.(reply),
        ms: Math.round(seconds * 1e4) / 10,
        remote: remoteAddress,
        agent: request.headers["user-agent"],
      };
      if (status >= 500) logger.warn(line, "request");
      else logger.info(line, "request");
    });
    done();
  };
}
