import { CodedError } from "@cache-registry/core/errors";
import type { TargetResolver } from "@cache-registry/registry-client/target";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createServer } from "@cache-registry/runtime/server";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type ContentRequest, subjectOf } from "./answer.ts";
import type { Failover } from "./failover.ts";
import { parseRequest } from "./request.ts";
import { sendAnswer } from "./send-answer.ts";

export type AppOptions = {
  readonly failover: Failover;
  readonly targets: TargetResolver;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly accessLog: boolean;
  /** Told of each request that names its registry by `?ns=`. */
  readonly onMirrored: () => void;
};

/** To one address. A node never has as many; the memory for more would be missing elsewhere on it. */
const MAX_CONNECTIONS = 512;

class ClientLeftError extends Error {
  override readonly name = "ClientLeftError";
}

/** Aborted when the connection closes before the response is complete. */
function signalOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort(new ClientLeftError("the client left"));
  });
  return controller.signal;
}

/** @throws CodedError */
function understand(request: FastifyRequest, targets: TargetResolver, signal: AbortSignal): ContentRequest {
  const { resource, query, ns } = parseRequest(request.raw.url ?? "");
  const target = targets.resolve({ path: resource.name, ns, host: request.headers.host });
  const method = request.method === "HEAD" ? "HEAD" : "GET";
  return { method, resource, target, headers: request.headers, query, signal };
}

/** The reading half of the distribution API; writing happens at the registry. */
export function createApp(options: AppOptions): FastifyInstance {
  const { failover, targets, logger, metrics, accessLog, onMirrored } = options;
  const app = createServer({ logger, name: "proxy", metrics, accessLog, maxConnections: MAX_CONNECTIONS });

  app.addHook("onRequest", async (request, reply) => {
    if (request.method === "GET" || request.method === "HEAD") return;
    // The body of a push is not read, so nothing can follow on this connection.
    reply.header("connection", "close");
    throw new CodedError("UNSUPPORTED", "this address is for pulls; push to the registry itself", {
      headers: { allow: "GET, HEAD" },
    });
  });

  app.route({
    method: ["GET", "HEAD"],
    url: "/v2/",
    handler: async (_request, reply) => reply.header("docker-distribution-api-version", "registry/2.0").send({}),
  });

  app.route({
    method: ["GET", "HEAD"],
    url: "/v2/*",
    handler: async (request, reply) => {
      const signal = signalOf(reply);
      const understood = understand(request, targets, signal);
      if (understood.target.kind === "upstream" && understood.target.byNamespace) onMirrored();
      const answer = await failover.answer(understood);
      reply.hijack();
      try {
        await sendAnswer(answer, reply.raw, signal);
      } catch (err) {
        if (signal.aborted && signal.reason instanceof ClientLeftError) return;
        logger.warn({ err, ...subjectOf(understood) }, "an answer was cut");
      }
    },
  });

  return app;
}
