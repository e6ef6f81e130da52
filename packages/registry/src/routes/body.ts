import type { CodedError } from "@cache-registry/core/errors";
import type { FastifyRequest } from "fastify";

/** The whole body, at most `limit` bytes. For documents only: blobs are streamed. */
export async function readBody(request: FastifyRequest, limit: number, tooLarge: () => CodedError): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > limit) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks, size);
}

/**
 * The body as it arrives. The app's one parser hands it over unread, whatever its content type. A reader that gives up does
 * not cut the connection: the client still gets its answer, and the rest of the body is read past.
 */
export async function* bodyOf({ raw }: FastifyRequest): AsyncGenerator<Uint8Array> {
  try {
    yield* raw.iterator({ destroyOnReturn: false });
  } finally {
    raw.resume();
  }
}
