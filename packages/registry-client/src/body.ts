import type { Readable } from "node:stream";
import type { TransportResponse } from "./transport.ts";

/** A body was longer than its reader takes. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
  readonly code = "ERR_BODY_TOO_LARGE";

  constructor(limit: number) {
    super(`longer than ${limit} bytes`);
  }
}

/** A body went on and on, a byte now and then. */
export class BodyTooSlowError extends Error {
  override readonly name = "BodyTooSlowError";
  readonly code = "ERR_BODY_TOO_SLOW";

  constructor(milliseconds: number) {
    super(`not whole after ${milliseconds} ms`);
  }
}

export type BodyLimits = {
  readonly bytes: number;
  /** For the whole of it. */
  readonly milliseconds?: number;
};

/** The whole body in memory. @throws BodyTooLargeError, BodyTooSlowError; the connection is cut then */
export async function readCapped(body: Readable, { bytes, milliseconds }: BodyLimits): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const late = (): unknown => milliseconds && body.destroy(new BodyTooSlowError(milliseconds));
  const timer = milliseconds === undefined ? undefined : setTimeout(late, milliseconds);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > bytes) throw new BodyTooLargeError(bytes);
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks, size);
}

const MAX_DISCARDED_BYTES = 64 * 1024;
const DISCARD_TIMEOUT_MS = 1_000;

/** Frees the connection of an answer whose body nobody wants. A long or slow body is cut, and its failure interests nobody. */
export async function discard(response: TransportResponse): Promise<void> {
  const signal = AbortSignal.timeout(DISCARD_TIMEOUT_MS);
  await response.body.dump({ limit: MAX_DISCARDED_BYTES, signal }).catch(() => undefined);
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** One value of a header; of repeated ones the first. */
export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** Does the header claim another encoding than the bytes themselves? We ask for none, and digests are of the bytes. */
export function isEncoded(headers: TransportResponse["headers"]): boolean {
  const encoding = headerOf(headers, "content-encoding")?.trim().toLowerCase();
  return encoding !== undefined && encoding !== "" && encoding !== "identity";
}
