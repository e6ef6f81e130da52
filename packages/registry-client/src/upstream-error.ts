import { CodedError } from "@cache-registry/core/errors";

/**
 * Why an upstream did not give what was asked.
 * `unreachable`: no connection, no name, or the connection broke. `timeout`: it took too long. `server`: 5xx.
 * `rate-limited`: 429. `not-found`: 404. `unauthorized`: 401 or 403. `denied-by-policy`: we refuse to ask.
 * `invalid`: an answer that makes no sense or is not what its digest says.
 */
export type UpstreamErrorKind =
  | "unreachable"
  | "timeout"
  | "server"
  | "rate-limited"
  | "not-found"
  | "unauthorized"
  | "denied-by-policy"
  | "invalid";

export type UpstreamErrorOptions = {
  readonly kind: UpstreamErrorKind;
  /** The name in image references. */
  readonly registry: string;
  /** Of the HTTP answer, when there was one. */
  readonly status?: number | undefined;
  /** Milliseconds to wait, as the upstream said. */
  readonly retryAfter?: number | undefined;
  readonly cause?: unknown;
  /** Credentials were refused as such or cannot be had: it is not only a right that they lack. */
  readonly ofCredentials?: boolean;
  /** Nobody was asked: the failure is remembered elsewhere, for as long as it should be. */
  readonly remembered?: boolean;
};

/** `message` is shown to clients and logged: it never holds secrets or URL queries. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  readonly kind: UpstreamErrorKind;
  readonly registry: string;
  readonly status: number | undefined;
  readonly retryAfter: number | undefined;
  readonly ofCredentials: boolean;
  readonly remembered: boolean;

  constructor(message: string, options: UpstreamErrorOptions) {
    super(`${options.registry}: ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind;
    this.registry = options.registry;
    this.status = options.status;
    this.retryAfter = options.retryAfter;
    this.ofCredentials = options.ofCredentials ?? false;
    this.remembered = options.remembered ?? false;
  }
}

export function isUpstreamError(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError;
}

/**
 * May held content be served instead? Yes for whatever an upstream or the way to it did wrong; no for our own mistakes
 * and for a caller that left.
 */
export function isServableStale(error: unknown): boolean {
  return isUpstreamError(error);
}

function retryAfterHeader(retryAfter: number | undefined): Record<string, string> {
  return retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfter / 1000))) };
}

/**
 * What a client is told about content that we do not hold. A refusal of our credentials is 404, so that clients and the
 * proxy go on to the upstream with their own; 429 stays 429.
 */
export function codedErrorOf(error: UpstreamError, what: "manifest" | "blob"): CodedError {
  const options = { cause: error, detail: { upstream: error.registry, kind: error.kind } };
  switch (error.kind) {
    case "not-found":
    case "unauthorized":
      return new CodedError(what === "manifest" ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN", error.message, options);
    case "denied-by-policy":
      return new CodedError("NAME_UNKNOWN", error.message, options);
    case "rate-limited":
      return new CodedError("TOOMANYREQUESTS", error.message, {
        ...options,
        headers: retryAfterHeader(error.retryAfter),
      });
    case "timeout":
      return new CodedError("UPSTREAM_FAILED", error.message, { ...options, status: 504 });
    default:
      return new CodedError("UPSTREAM_FAILED", error.message, options);
  }
}
