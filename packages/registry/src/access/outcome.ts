import type { FastifyInstance, FastifyReply } from "fastify";
import type { Outcome } from "../pull-through/pull-through-metrics.ts";

declare module "fastify" {
  interface FastifyReply {
    /** How a pull was answered, for the access log; null for everything else. */
    outcome: Outcome | null;
  }
}

export function rememberOutcomes(server: FastifyInstance): void {
  server.decorateReply("outcome", null);
}

/** What the access log says of a pull beside what it says of every request. */
export function accessDetails(reply: FastifyReply): { outcome?: Outcome } {
  return reply.outcome === null ? {} : { outcome: reply.outcome };
}
