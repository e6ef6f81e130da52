import { Pool } from "undici";
import type { TransportResponse } from "./transport.ts";

export type OriginRequest = {
  readonly method: "GET" | "HEAD";
  /** Path and query, below the path of the origin's URL. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

/** One HTTP server that configuration names, with pooled connections: no redirects, no retry, no authentication. */
export type Origin = {
  /** @throws what undici throws; see failure.ts */
  send(request: OriginRequest): Promise<TransportResponse>;
  /** Cuts what is still running. */
  close(): Promise<void>;
};

/** Times in milliseconds. */
export type OriginOptions = {
  readonly url: string;
  readonly connectTimeout: number;
  readonly headersTimeout: number;
  /** Without a byte in the middle of a body. */
  readonly idleTimeout: number;
};

const KEEP_ALIVE_MS = 20_000;
/** A read from a socket is 64 KiB at most: with less than that, a single one waits in the body for a slow reader. */
const READ_AHEAD_BYTES = 16 * 1024;

export function createOrigin({ url, connectTimeout, headersTimeout, idleTimeout }: OriginOptions): Origin {
  const { origin, pathname } = new URL(url);
  const prefix = pathname.replace(/\/$/, "");
  const pool = new Pool(origin, {
    connect: { timeout: connectTimeout, allowH2: false },
    headersTimeout,
    bodyTimeout: idleTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  return {
    send: async ({ path, ...request }) =>
      pool.request({ ...request, highWaterMark: READ_AHEAD_BYTES, path: `${prefix}${path}` }),
    close: () => pool.destroy(),
  };
}
