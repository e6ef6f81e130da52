import { CodedError } from "@cache-registry/core/errors";

/** The server refused. `code` is its own word (NoSuchKey, SlowDown, AccessDenied, …), empty when the answer had no body. */
export class S3ResponseError extends Error {
  override readonly name = "S3ResponseError";
  readonly status: number;
  readonly code: string;

  constructor({ status, code, what }: { status: number; code: string; what: string }) {
    super(`the object store answered ${[status, code].filter(Boolean).join(" ")} to ${what}`);
    this.status = status;
    this.code = code;
  }
}

/** An answer that is no error and yet not what was asked for. */
export class S3ProtocolError extends Error {
  override readonly name = "S3ProtocolError";
}

/** No whole answer: the connection failed, broke or fell silent. */
export class S3ConnectionError extends Error {
  override readonly name = "S3ConnectionError";
}

const FULL: ReadonlySet<string> = new Set(["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"]);
const TRANSIENT: ReadonlySet<string> = new Set(["SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"]);

export function isFull(error: unknown): boolean {
  return error instanceof S3ResponseError && (error.status === 507 || FULL.has(error.code));
}

/** May the same request succeed in a moment? */
export function isTransient(error: unknown): boolean {
  if (error instanceof S3ConnectionError) return true;
  if (!(error instanceof S3ResponseError) || isFull(error)) return false;
  return error.status >= 500 || error.status === 429 || error.status === 408 || TRANSIENT.has(error.code);
}

/**
 * The one answer that says that an object is not there. Any other 404 says nothing of it: the bucket, the account or the
 * server behind a proxy may be gone, and whoever believed it would forget what is held.
 */
export function isNoSuchKey(error: unknown): boolean {
  return error instanceof S3ResponseError && error.status === 404 && error.code === "NoSuchKey";
}

/** What a failure means to the port's callers: full, out of reach for now, or (anything else) a fault that is logged. */
export function storeError(error: unknown): unknown {
  if (isFull(error)) return new CodedError("INSUFFICIENT_STORAGE", undefined, { cause: error });
  if (!isTransient(error)) return error;
  const message = "the object store is not available";
  return new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" }, cause: error });
}
