import type { CodedError } from "@cache-registry/core/errors";
import type { FastifyReply, FastifyRequest } from "fastify";
import { isUpstream, type Repository } from "../content/repository.ts";
import type { Outcome } from "../pull-through/pull-through-metrics.ts";

/** One request for a repository: who asks for what, and the means to answer. */
export type Exchange = {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly repository: Repository;
  /** The name as the client wrote it in the path: Location headers repeat it. */
  readonly name: string;
  readonly query: URLSearchParams;
};

export type Handler<Endpoint> = (exchange: Exchange, endpoint: Endpoint) => Promise<FastifyReply>;

/** Methods that an endpoint knows; all others are 405 with Allow. */
export type Methods<Endpoint> = Readonly<Record<string, Handler<Endpoint>>>;

export function isHead(exchange: Exchange): boolean {
  return exchange.request.method === "HEAD";
}

const CACHE_STATUS: Readonly<Record<Outcome, string>> = {
  hit: "hit",
  miss: "fwd=miss",
  joined: "fwd=miss; collapsed",
  stale: "hit; detail=stale",
  bypass: "fwd=bypass",
};

/** How the pull was answered: kept for the access log, and told to the client (Cache-Status, RFC 9211). */
export function answeredBy({ repository, reply }: Pick<Exchange, "repository" | "reply">, outcome: Outcome) {
  reply.outcome = outcome;
  return isUpstream(repository) ? { "cache-status": `cache-registry; ${CACHE_STATUS[outcome]}` } : {};
}

/** Content of an upstream repository comes from that upstream or an import, never from a push. */
export function refusePush(repository: Repository, makeError: (message: string) => CodedError): void {
  if (!isUpstream(repository)) return;
  throw makeError(
    `${repository.name} belongs to the upstream ${repository.upstream}: its content can only come from there; push to a repository without a registry in its first component`,
  );
}
