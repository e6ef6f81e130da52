import { CodedError } from "@cache-registry/core/errors";
import type { BufferPool } from "@cache-registry/runtime/buffer-pool";
import type { Logger } from "@cache-registry/runtime/logger";
import { pathOf } from "@cache-registry/runtime/server/error-response";
import type { ByteRange } from "@cache-registry/storage/blob-store/blob-store";
import type { FastifyReply } from "fastify";
import type { BlobContent } from "../content/read-blob.ts";
import type { PullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { sendBytes } from "./send-bytes.ts";

export type SendBlob = {
  /** Status and headers are set already. */
  readonly reply: FastifyReply;
  readonly content: BlobContent;
  readonly range: ByteRange | undefined;
  /** Of the repository; empty for a local one. */
  readonly upstream: string;
  /** Bytes announced, undefined when unknown. */
  readonly length: number | undefined;
};

export type BlobSender = (send: SendBlob) => Promise<FastifyReply>;

/** Streams a blob past fastify: the body goes from disk through two pooled buffers to the socket. */
export function createBlobSender({
  pool,
  metrics,
  logger,
}: {
  pool: BufferPool;
  metrics: PullThroughMetrics;
  logger: Logger;
}): BlobSender {
  return async ({ reply, content, range, length, upstream }) => {
    const lease = pool.lease();
    if (!lease) {
      throw new CodedError("UNAVAILABLE", "too many streams at once", { headers: { "retry-after": "1" } });
    }
    try {
      const reader = await content.reader(range);
      const response = reply.raw;
      reply.hijack();
      response.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>);
      response.flushHeaders();
      metrics.firstByte("blob", content.outcome, reply.elapsedTime / 1000);
      try {
        const sent = await sendBytes({ reader, response, lease, length });
        metrics.servedBytes({ source: content.from, upstream, bytes: sent });
        response.end();
      } catch (err) {
        // Headers are out: cut the connection short of Content-Length, so that the client resumes instead of trusting it.
        logger.warn({ err, path: pathOf(reply.request) }, "blob stream broke off");
        response.destroy();
      }
    } finally {
      lease.release();
    }
    return reply;
  };
}
