/** The fields of a `meta/v1 Status` that we use. */
type Status = { message?: string; reason?: string; code?: number; details?: { retryAfterSeconds?: number } };

/** An answer of the API server other than 2xx, or an ERROR event of a watch. Holds no request data and no credentials. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** `NotFound`, `AlreadyExists`, `Conflict`, `Expired`, … (meta/v1 StatusReason); empty when the answer was no Status. */
  readonly reason: string;
  /** Milliseconds, from Retry-After or the Status. */
  readonly retryAfter: number | undefined;

  constructor(status: number, body: unknown, retryAfterHeader?: string) {
    const details = isStatus(body) ? body : {};
    super(`API server: ${status} ${details.message ?? details.reason ?? "no reason given"}`.slice(0, 1_000));
    this.status = status;
    this.reason = details.reason ?? "";
    this.retryAfter = retryAfterOf(retryAfterHeader, details);
  }
}

function isStatus(body: unknown): body is Status {
  return typeof body === "object" && body !== null && "kind" in body && body.kind === "Status";
}

/** The API server sends seconds only, never a date. */
function retryAfterOf(header: string | undefined, status: Status): number | undefined {
  const seconds = header === undefined ? status.details?.retryAfterSeconds : Number(header);
  return seconds !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
}

export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** 409: the object exists already, or it is not (any more) the one that the preconditions name. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409;
}

/** 422: the API server's validation, or a `test` of a JSON patch, says no to the object as it is now. */
export function isInvalid(error: unknown): boolean {
  return error instanceof ApiError && error.status === 422;
}

/** 410: the resource version or the continue token is older than the API server's history. */
export function isExpired(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}

/** No answer at all, or one that may be another in a moment: the API server starts, is busy, or forgot where a list was. */
export function isPassing(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status === 410 || error.status === 429 || error.status >= 500;
}
