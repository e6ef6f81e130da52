/**
 * Error codes of the OCI distribution spec (section "Error Codes") and the one place that knows their status.
 * `UNAVAILABLE` and `TIMEOUT`-like conditions have no spec code; clients accept any upper-case code (spec: "unless
 * otherwise specified, code ... MUST only contain [A-Z] and underscore").
 */
export const ERROR_CODES = {
  BLOB_UNKNOWN: { status: 404, message: "blob unknown to registry" },
  BLOB_UPLOAD_INVALID: { status: 400, message: "blob upload invalid" },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: "blob upload unknown to registry" },
  DIGEST_INVALID: { status: 400, message: "provided digest did not match uploaded content" },
  MANIFEST_BLOB_UNKNOWN: { status: 404, message: "manifest references a manifest or blob unknown to registry" },
  MANIFEST_INVALID: { status: 400, message: "manifest invalid" },
  MANIFEST_UNKNOWN: { status: 404, message: "manifest unknown to registry" },
  NAME_INVALID: { status: 400, message: "invalid repository name" },
  NAME_UNKNOWN: { status: 404, message: "repository name not known to registry" },
  SIZE_INVALID: { status: 400, message: "provided length did not match content length" },
  RANGE_INVALID: { status: 416, message: "requested range not satisfiable" },
  UNAUTHORIZED: { status: 401, message: "authentication required" },
  DENIED: { status: 403, message: "requested access to the resource is denied" },
  UNSUPPORTED: { status: 405, message: "the operation is unsupported" },
  TOOMANYREQUESTS: { status: 429, message: "too many requests" },
  BAD_REQUEST: { status: 400, message: "bad request" },
  NOT_FOUND: { status: 404, message: "not found" },
  UPSTREAM_FAILED: { status: 502, message: "the upstream registry failed" },
  UNAVAILABLE: { status: 503, message: "service unavailable" },
  INSUFFICIENT_STORAGE: { status: 507, message: "insufficient storage" },
  INTERNAL: { status: 500, message: "internal error" },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export type ErrorOptionsOf = {
  /** Overrides the status of the code table, e.g. 413 for a MANIFEST_INVALID that is too large. */
  readonly status?: number;
  /** Shown to the client; must hold no secret. */
  readonly detail?: unknown;
  /** Extra response headers, e.g. Retry-After. Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
};

/** An error that carries its own wire body. `message` is shown to clients, so it never holds secrets. */
export class CodedError extends Error {
  override readonly name = "CodedError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message?: string, options: ErrorOptionsOf = {}) {
    super(message ?? ERROR_CODES[code].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? ERROR_CODES[code].status;
    this.detail = options.detail;
    this.headers = options.headers ?? {};
  }
}

export function isCodedError(error: unknown): error is CodedError {
  return error instanceof CodedError;
}

/** `{"errors":[{code,message,detail?}]}`, spec section "Error Codes". */
export type ErrorBody = { errors: { code: string; message: string; detail?: unknown }[] };

export function errorBody(error: { code: string; message: string; detail?: unknown }): ErrorBody {
  const { code, message, detail } = error;
  return { errors: [detail === undefined ? { code, message } : { code, message, detail }] };
}

/** The message of anything thrown, for logs and wrapped errors. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
