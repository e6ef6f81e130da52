import { timingSafeEqual } from "node:crypto";
import type { ServerResponse } from "node:http";
import { isDigest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import type { BufferPool } from "@cache-registry/runtime/buffer-pool";
import type { Logger } from "@cache-registry/runtime/logger";
import type { SecretFile } from "@cache-registry/runtime/secret";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Repository, upstreamRepository } from "../content/repository.ts";
import type { BlobSource } from "../pull-through/blob-source.ts";
import type { Methods } from "../routes/exchange.ts";
import { parsePath } from "../routes/path.ts";
import type { UploadEndpoint } from "../routes/uploads.ts";
import { sendBytes } from "../serving/send-bytes.ts";
import { BLOB_SIZE_HEADER, REPLICA_HEADER } from "./peers.ts";

export type PeerRouteDeps = {
  /** Of this replica: requests for another one came to the wrong address. */
  readonly id: string;
  readonly token: SecretFile;
  readonly blobs: BlobSource;
  readonly pool: BufferPool;
  readonly logger: Logger;
  /** The sessions of this replica. */
  readonly uploads: Methods<UploadEndpoint>;
  readonly resolveName: (name: string) => Repository;
};

/**
 * What the other replicas ask: blobs that are being fetched, and requests for upload sessions that are here. When the server
 * closes, the blobs are cut: the others go on by themselves.
 */
export function addPeerRoutes(server: FastifyInstance, deps: PeerRouteDeps): void {
  const streams = new Set<ServerResponse>();
  server.addHook("preClose", async () => {
    for (const stream of streams) stream.destroy();
  });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  server.addHook("onRequest", (request) => requirePeer(request, deps));

  server.get<{ Params: { digest: string }; Querystring: Record<string, string | undefined> }>(
    "/peer/blobs/:digest",
    async (request, reply) => {
      const { digest } = request.params;
      const { registry, repository, offset = "0", vouched } = request.query;
      if (!isDigest(digest) || !registry || !repository || !/^\d{1,15}$/.test(offset)) {
        throw new CodedError("BAD_REQUEST");
      }
      const fetch = deps.blobs.attach(upstreamRepository(registry, repository), digest, vouched === "true");
      if (fetch === "absent") throw new CodedError("BLOB_UNKNOWN");
      if (fetch === "unvouched") throw new CodedError("DENIED", undefined, { status: 409 });
      streams.add(reply.raw);
      try {
        return await sendFetch(deps, reply, { fetch, start: Number(offset) });
      } finally {
        streams.delete(reply.raw);
      }
    },
  );

  // The path as the client wrote it: Location headers repeat its name.
  server.all("/v2/*", async (request, reply) => {
    const { pathname, searchParams: query } = new URL(request.url, "http://replica");
    const endpoint = parsePath(pathname);
    const handler = endpoint?.kind === "upload" ? deps.uploads[request.method] : undefined;
    if (endpoint?.kind !== "upload" || !handler) throw new CodedError("NOT_FOUND");
    const { name, id } = endpoint;
    return handler({ request, reply, repository: deps.resolveName(name), name, query }, { id });
  });
}

async function requirePeer(request: FastifyRequest, { id, token }: PeerRouteDeps): Promise<void> {
  const expected = Buffer.from(`Bearer ${await token.read()}`);
  const given = Buffer.from(request.headers.authorization ?? "");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new CodedError("UNAUTHORIZED");
  if (request.headers[REPLICA_HEADER] !== id) throw new CodedError("NOT_FOUND", "another replica", { status: 421 });
}

async function sendFetch(
  { pool, logger }: PeerRouteDeps,
  reply: FastifyReply,
  { fetch, start }: { readonly fetch: Exclude<ReturnType<BlobSource["attach"]>, string>; readonly start: number },
): Promise<FastifyReply> {
  const size = await fetch.opened;
  if (size !== undefined && start > size) throw new CodedError("RANGE_INVALID");
  const lease = pool.lease();
  if (!lease) throw new CodedError("UNAVAILABLE", "too many streams at once");
  try {
    const length = size === undefined ? undefined : size - start;
    const reader = fetch.reader({ start, end: (size ?? Number.MAX_SAFE_INTEGER) - 1 });
    const response = reply.raw;
    reply.hijack();
    response.writeHead(200, {
      ...(size === undefined ? {} : { [BLOB_SIZE_HEADER]: size, "content-length": size - start }),
      "content-type": "application/octet-stream",
    });
    response.flushHeaders();
    try {
      await sendBytes({ reader, response, lease, length });
      response.end();
    } catch (err) {
      logger.debug({ err }, "a stream to another replica broke off");
      response.destroy();
    }
  } finally {
    lease.release();
  }
  return reply;
}
