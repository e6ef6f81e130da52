import { type Digest, parseDigest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FastifyReply } from "fastify";
import type { BlobContent, ReadBlob } from "../content/read-blob.ts";
import type { BlobSender, SendBlob } from "../serving/blob-sender.ts";
import { parseRange } from "../serving/range.ts";
import { answeredBy, type Exchange, isHead, type Methods } from "./exchange.ts";

export type BlobEndpoint = { readonly digest: string };

export type BlobRouteDeps = {
  readonly metadata: MetadataStore;
  readonly readBlob: ReadBlob;
  readonly send: BlobSender;
  readonly deleteEnabled: boolean;
  /** Where a client may read a stored blob instead of here. */
  readonly redirectUrl?: ((digest: Digest) => Promise<string>) | undefined;
};

/** Distribution spec: pulling and deleting blobs (end-2, end-10), with ranges (RFC 9110 §14). */
export function blobRoutes(deps: BlobRouteDeps): Methods<BlobEndpoint> {
  async function head(exchange: Exchange, { digest }: BlobEndpoint) {
    const { repository, reply } = exchange;
    const wanted = parseDigest(digest);
    const found = await deps.readBlob.stat(repository, wanted);
    reply.headers({ ...headersOf(wanted), ...answeredBy(exchange, found.outcome) });
    if (found.size !== undefined) reply.header("content-length", found.size);
    return reply.send();
  }

  async function get(exchange: Exchange, { digest }: BlobEndpoint) {
    if (isHead(exchange)) return head(exchange, { digest });
    const { repository, reply, request } = exchange;
    const wanted = parseDigest(digest);
    const content = await deps.readBlob.open(repository, wanted);
    if (content.from === "store" && deps.redirectUrl) {
      const location = await deps.redirectUrl(wanted);
      // The URL is valid for a while only; the blob's own headers say the opposite.
      const headers = { location, "docker-content-digest": wanted, "cache-control": "no-store" };
      return reply
        .code(307)
        .headers({ ...headers, ...answeredBy(exchange, content.outcome) })
        .send();
    }
    reply.headers({ ...headersOf(wanted), ...answeredBy(exchange, content.outcome) });
    const upstream = repository.upstream ?? "";
    return sendContent(content, {
      reply,
      range: request.headers.range,
      send: (answer) => deps.send({ ...answer, reply, content, upstream }),
    });
  }

  async function remove({ repository, reply }: Exchange, { digest }: BlobEndpoint) {
    if (!deps.deleteEnabled) throw new CodedError("UNSUPPORTED", "deleting is switched off: delete.enabled is false");
    const removed = await deps.metadata.unlinkBlob(repository.name, parseDigest(digest), Date.now());
    if (!removed) throw new CodedError("BLOB_UNKNOWN");
    return reply.code(202).send();
  }

  return { GET: get, HEAD: head, DELETE: remove };
}

function headersOf(digest: Digest): Record<string, string> {
  return {
    "content-type": "application/octet-stream",
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
    etag: `"${digest}"`,
    // Content behind a digest never changes.
    "cache-control": "max-age=31536000, immutable",
  };
}

/** Where the answer goes; `send` takes it from there. */
type Answering = {
  readonly reply: FastifyReply;
  /** The request's Range header. */
  readonly range: string | undefined;
  readonly send: (answer: Pick<SendBlob, "range" | "length">) => Promise<FastifyReply>;
};

async function sendContent({ size }: BlobContent, { reply, range, send }: Answering): Promise<FastifyReply> {
  const answer = size === undefined ? ({ kind: "whole" } as const) : parseRange(range, size);
  if (answer.kind === "unsatisfiable") {
    throw new CodedError("RANGE_INVALID", undefined, { headers: { "content-range": `bytes */${size}` } });
  }
  if (answer.kind === "part") {
    const { start, end } = answer.range;
    reply.code(206).headers({ "content-range": `bytes ${start}-${end}/${size}`, "content-length": end - start + 1 });
    return send({ range: answer.range, length: end - start + 1 });
  }
  if (size !== undefined) reply.header("content-length", size);
  return send({ range: undefined, length: size });
}
