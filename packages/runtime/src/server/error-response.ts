import { type CodedError, type ErrorCode, errorBody, isCodedError } from "@cache-registry/core/errors";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "../logger.ts";

/** Codes for what fastify itself refuses. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  404: "NOT_FOUND",
  405: "UNSUPPORTED",
  413: "SIZE_INVALID",
  415: "UNSUPPORTED",
  503: "UNAVAILABLE",
};

type WireError = {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly detail?: unknown;
  readonly headers?: CodedError["headers"];
};

const INTERNAL: WireError = { status: 500, code: "INTERNAL", message: "internal error" };

/** Only CodedErrors and fastify's own refusals are fit for clients; the rest may hold internals. */
function toWireError(error: unknown): WireError {
  if (isCodedError(error)) return error;
  if (!(error instanceof Error)) return INTERNAL;
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  const refused = typeof code === "string" && code.startsWith("FST_ERR_");
  if (!refused || typeof statusCode !== "number" || statusCode < 400 || statusCode === 500) return INTERNAL;
  return { status: statusCode, code: CODES[statusCode] ?? "BAD_REQUEST", message: error.message };
}

/** Path without the query, which may carry tokens. */
export function pathOf(request: FastifyRequest): string {
  return request.url.split("?", 1)[0] ?? "";
}

/**
 * Of the answer that it would have been: an error has none of this. With what is said of a blob, that it never changes, a shared
 * cache would keep the error for a year.
 */
const ABOUT_CONTENT = ["accept-ranges", "cache-control", "content-range", "docker-content-digest", "etag", "warning"];

/** The one place that writes error answers: the OCI error body with the error's status and headers. */
export function createErrorHandler(logger: Logger) {
  return function handleError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const wire = toWireError(error);
    const context = { err: error, method: request.method, path: pathOf(request), status: wire.status };
    if (reply.raw.destroyed || request.raw.socket.destroyed)
      logger.debug(context, "request failed after the client left");
    else if (wire.status === 500) logger.error(context, "request failed");
    else logger.debug(context, "request refused");
    for (const name of ABOUT_CONTENT) reply.removeHeader(name);
    return reply
      .code(wire.status)
      .headers({ ...wire.headers })
      .type("application/json; charset=utf-8")
      .send(errorBody(wire));
  };
}

/** For connections that broke before there was a request: a complete HTTP/1.1 answer. */
export function rawErrorResponse(error: { readonly code?: string }): string {
  const known: Record<string, readonly [string, string]> = {
    HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "request headers are too large"],
    ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "request headers took too long"],
  };
  const [status, message] = known[error.code ?? ""] ?? ["400 Bad Request", "malformed HTTP request"];
  const body = JSON.stringify(errorBody({ code: "BAD_REQUEST", message }));
  return [
    `HTTP/1.1 ${status}`,
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
