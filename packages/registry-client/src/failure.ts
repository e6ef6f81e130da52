import { messageOf } from "@cache-registry/core/errors";
import { isUpstreamError, UpstreamError, type UpstreamErrorKind } from "./upstream-error.ts";

const KIND_OF_CODE: Readonly<Record<string, UpstreamErrorKind>> = {
  ERR_ADDRESS_DENIED: "denied-by-policy",
  ERR_BODY_TOO_SLOW: "timeout",
  ERR_PROXY_TIMEOUT: "timeout",
  ETIMEDOUT: "timeout",
  UND_ERR_BODY_TIMEOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_HEADERS_TIMEOUT: "timeout",
  UND_ERR_HEADERS_OVERFLOW: "invalid",
};

const WHAT_HAPPENED: Readonly<Record<string, string>> = {
  ERR_BODY_TOO_SLOW: "the answer took too long",
  EAI_AGAIN: "its name cannot be resolved",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection broke",
  ENOTFOUND: "its name cannot be resolved",
  UND_ERR_BODY_TIMEOUT: "no byte arrived for too long",
  UND_ERR_CONNECT_TIMEOUT: "connecting took too long",
  UND_ERR_HEADERS_TIMEOUT: "no answer in time",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "the answer ended early",
  UND_ERR_SOCKET: "the connection broke",
};

export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** What undici or a socket threw, as an UpstreamError. An error that is one already stays as it is. */
export function failureOf(error: unknown, registry: string): UpstreamError {
  if (isUpstreamError(error)) return error;
  const code = codeOf(error);
  const kind = KIND_OF_CODE[code] ?? (code.startsWith("HPE_") ? "invalid" : "unreachable");
  return new UpstreamError(WHAT_HAPPENED[code] ?? messageOf(error), { kind, registry, cause: error });
}

/** The same failure, told of what it happened at: the registry itself may be well. `where`: such as `its token service auth.docker.io`. */
export function failureAtPart(failure: UpstreamError, where: string): UpstreamError {
  const { kind, registry, status, retryAfter, cause, ofCredentials, remembered } = failure;
  const what = failure.message.replace(`${registry}: `, "");
  const rest = { status, retryAfter, cause, ofCredentials, remembered };
  return new UpstreamError(`${where}: ${what}`, { kind, registry, ...rest });
}

const MAX_RETRY_AFTER_MS = 24 * 3_600_000;

/** Seconds or a date, RFC 9110 §10.2.3. Milliseconds from now, or undefined. */
export function parseRetryAfter(value: string | undefined, now: number = Date.now()): number | undefined {
  const text = value?.trim() ?? "";
  const date = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  const milliseconds = /^\d{1,10}$/.test(text) ? Number(text) * 1000 : date - now;
  return Number.isNaN(milliseconds) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, milliseconds));
}

export type AnsweredWith = {
  readonly registry: string;
  readonly status: number;
  readonly retryAfter?: string | undefined;
};

/** What an HTTP status means, for every status that is not the success asked for. */
export function failureOfStatus({ registry, status, retryAfter }: AnsweredWith): UpstreamError {
  const fail = (kind: UpstreamErrorKind, message: string): UpstreamError =>
    new UpstreamError(message, { kind, registry, status, retryAfter: parseRetryAfter(retryAfter) });
  if (status === 404) return fail("not-found", "not found");
  if (status === 401 || status === 403) return fail("unauthorized", `access refused (${status})`);
  if (status === 429) return fail("rate-limited", "too many requests");
  if (status === 408 || status === 504) return fail("timeout", `answered ${status}`);
  if (status >= 500) return fail("server", `answered ${status}`);
  return fail("invalid", `answered ${status}`);
}
