import type { IncomingMessage } from "node:http";
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
 * A blob of many gigabytes goes on to an object store once it is here whole, and the client waits: minutes in which nothing moves
 * on its connection. The store gives up by itself when it hears nothing; this is for a store that never does. Milliseconds.
 */
export const STORE_PATIENCE_MS = 30 * 60_000;

/** The body is here: from now on it is not the client that keeps us waiting. The next request has the usual patience again. */
export function allowForStore({ socket }: IncomingMessage): void {
  socket.setTimeout(STORE_PATIENCE_MS);
}

/**
 * The body as it arrives. The app's one parser hands it over unread, whatever its content type. A reader that gives up does
 * not cut the connection: the client still gets its answer, and the rest of the body is read past.
 */
export async function* bodyOf({ raw }: FastifyRequest): AsyncGenerator<Uint8Array> {
  try {
    yield* raw.iterator({ destroyOnReturn: false });
    allowForStore(raw);
  } finally {
    raw.resume();
  }
}
