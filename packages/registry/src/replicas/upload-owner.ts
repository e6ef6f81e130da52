import type { IncomingHttpHeaders } from "node:http";
import { CodedError } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
import type { FastifyReply } from "fastify";
import { isUpstream } from "../content/repository.ts";
import { allowForStore } from "../routes/body.ts";
import type { Exchange, Methods } from "../routes/exchange.ts";
import type { UploadEndpoint } from "../routes/uploads.ts";
import { type Leases, REPLICAS } from "./leases.ts";
import type { Peer, Peers } from "./peers.ts";

/** An upload session belongs to the replica whose id its own begins with: there its bytes are. */
function sessionOwner(id: string): string | undefined {
  return /^([0-9a-f]{12})-/.exec(id)?.[1];
}

export type UploadOwners = {
  /** Undefined: this replica. @throws CodedError BLOB_UPLOAD_UNKNOWN when the owner is gone, UNAVAILABLE when nobody can say */
  ownerOf(id: string): Promise<Peer | undefined>;
  /** Before the id of each session that begins here. */
  readonly prefix: string;
  /** Does another replica that lives have the session? */
  readonly isElsewhere: (id: string) => Promise<boolean>;
};

export function createUploadOwners(leases: Pick<Leases, "id" | "lookup" | "doubtful">): UploadOwners {
  return {
    prefix: `${leases.id}-`,
    async isElsewhere(id) {
      const owner = sessionOwner(id);
      if (owner === undefined || owner === leases.id) return false;
      return (await leases.lookup(`${REPLICAS}${owner}`)) !== undefined || leases.doubtful;
    },
    async ownerOf(id) {
      const owner = sessionOwner(id);
      if (owner === undefined || owner === leases.id) return undefined;
      const lease = await leases.lookup(`${REPLICAS}${owner}`);
      if (!lease && leases.doubtful) {
        const message = "nobody can say yet which replica has this upload session";
        throw new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" } });
      }
      if (!lease) throw new CodedError("BLOB_UPLOAD_UNKNOWN");
      return { id: owner, address: lease.address ?? "" };
    },
  };
}

/** Of the request: authorization was checked here and is not the other's business. */
const REQUEST_HEADERS = ["content-type", "content-length", "content-range"] as const;
/** Of the answer: these are about the connection. */
const HOP_HEADERS: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding", "date"]);

/** The session endpoints at any replica: requests for sessions that are elsewhere are streamed there and back. */
export function forwardingUploadRoutes(
  local: Methods<UploadEndpoint>,
  {
    owners,
    peers,
    logger,
  }: { readonly owners: UploadOwners; readonly peers: Peers | undefined; readonly logger: Logger },
): Methods<UploadEndpoint> {
  async function forward(exchange: Exchange, owner: Peer): Promise<FastifyReply> {
    const { raw, url, method } = exchange.request;
    if (!peers || owner.address === "") {
      throw new CodedError("UNAVAILABLE", "another replica has this upload session, and `replica` is not set");
    }
    const headers = Object.fromEntries(REQUEST_HEADERS.flatMap((name) => entryOf(raw.headers, name)));
    try {
      const hasBody = method === "PATCH" || method === "PUT";
      raw.once("end", () => allowForStore(raw));
      const answer = await peers.send(owner, { method, path: url, headers, ...(hasBody ? { body: raw } : {}) });
      // What it did not want of the body is read past, so that the client gets its answer.
      raw.unpipe().resume();
      if (answer.statusCode === 401) {
        throw new CodedError("UNAVAILABLE", "the replicas do not have the same replica.tokenFile");
      }
      if (answer.statusCode === 421) throw new CodedError("BLOB_UPLOAD_UNKNOWN");
      const { reply } = exchange;
      for (const [name, value] of Object.entries(answer.headers)) {
        if (value !== undefined && !HOP_HEADERS.has(name)) reply.header(name, value);
      }
      return await reply.code(answer.statusCode ?? 502).send(answer);
    } catch (err) {
      raw.unpipe().resume();
      if (err instanceof CodedError) throw err;
      logger.warn({ err, replica: owner.id }, "an upload session at another replica cannot be reached");
      const message = "the replica that has this upload session does not answer";
      throw new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" }, cause: err });
    }
  }

  const route =
    (handler: Methods<UploadEndpoint>[string]): Methods<UploadEndpoint>[string] =>
    async (exchange, endpoint) => {
      const owner = isUpstream(exchange.repository) ? undefined : await owners.ownerOf(endpoint.id);
      return owner ? forward(exchange, owner) : handler(exchange, endpoint);
    };
  return Object.fromEntries(Object.entries(local).map(([method, handler]) => [method, route(handler)]));
}

function entryOf(headers: IncomingHttpHeaders, name: string): [string, string][] {
  const value = headers[name];
  return typeof value === "string" ? [[name, value]] : [];
}
