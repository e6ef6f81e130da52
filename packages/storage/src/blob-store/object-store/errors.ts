import { CodedError } from "@cache-registry/core/errors";
import { IdentityError } from "@cache-registry/runtime/cloud-identity/token-source";

/** The server refused. `code` is its own word (NoSuchKey, ServerBusy, notFound, …), empty when the answer had none. */
export class StoreResponseError extends Error {
  override readonly name = "StoreResponseError";
  readonly status: number;
  readonly code: string;

  /** @param answer `code` as the server sent it: kept only if it looks like one. `what`: the request, without a secret */
  constructor({ status, code, what }: { readonly status: number; readonly code: string; readonly what: string }) {
    const kept = /^[A-Za-z0-9.]{1,64}$/.test(code) ? code : "";
    super(`the object store answered ${[status, kept].filter(Boolean).join(" ")} to ${what}`);
    this.status = status;
    this.code = kept;
  }
}

/** An answer that is no error and yet not what was asked for. */
export class StoreProtocolError extends Error {
  override readonly name = "StoreProtocolError";
}

/** No whole answer: the connection failed, broke or fell silent. */
export class StoreConnectionError extends Error {
  override readonly name = "StoreConnectionError";
}

const FULL: ReadonlySet<string> = new Set([
  "QuotaExceeded",
  "InsufficientStorage",
  "XMinioStorageFull",
  "quotaExceeded",
  "AccountLimitExceeded",
]);
const TRANSIENT: ReadonlySet<string> = new Set([
  "SlowDown",
  "RequestTimeout",
  "InternalError",
  "ServiceUnavailable",
  "rateLimitExceeded",
  "userRateLimitExceeded",
  "ServerBusy",
  "OperationTimedOut",
]);

export function isFull(error: unknown): boolean {
  return error instanceof StoreResponseError && (error.status === 507 || FULL.has(error.code));
}

/** May the same request succeed in a moment? */
export function isTransient(error: unknown): boolean {
  if (error instanceof StoreConnectionError) return true;
  if (error instanceof IdentityError) return error.transient;
  if (!(error instanceof StoreResponseError) || isFull(error)) return false;
  return error.status >= 500 || error.status === 429 || error.status === 408 || TRANSIENT.has(error.code);
}

/** What a failure means to the port's callers: full, out of reach for now, or (anything else) a fault that is logged. */
export function storeError(error: unknown): unknown {
  if (isFull(error)) return new CodedError("INSUFFICIENT_STORAGE", undefined, { cause: error });
  if (!isTransient(error)) return error;
  const message = "the object store is not available";
  return new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" }, cause: error });
}

/** For `catch`. */
export function failAsStore(error: unknown): never {
  throw storeError(error);
}
