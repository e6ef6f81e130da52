import { CodedError } from "@cache-registry/core/errors";

/** The connection broke, fell silent or could not be made: nothing is known of what was asked last. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
}

/** The database was known to be out of reach, so it was not asked: nothing can have happened. */
export class NotAskedError extends Error {
  override readonly name = "NotAskedError";
}

export function wasNotAsked(error: unknown): boolean {
  return error instanceof CodedError && error.cause instanceof NotAskedError;
}

/** SQLSTATE of an error that the server sent (postgresql.org/docs/current/errcodes-appendix.html), else undefined. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  // Errors of sockets have codes too (ECONNREFUSED, EPIPE).
  return "severity" in error ? error.code : undefined;
}

/** The server ends the connection, or does not take one: it stops, starts, or is a standby by now. */
const GONE: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "57P05", "25006", "25P03"]);

/** Two transactions waited for each other, or could not be put in order: one was undone and may be tried again. */
const CONFLICT: ReadonlySet<string> = new Set(["40001", "40P01"]);

/** The server lives and cannot do it now: too many connections, out of memory, a lock or the statement took too long. */
const BUSY = /^(?:53|55P03|57014)/;
const DISK_FULL = "53100";

export function isConflict(error: unknown): boolean {
  return CONFLICT.has(sqlStateOf(error) ?? "");
}

/** A lock was not to be had in the time that the transaction allows itself. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === "55P03";
}

/** Is the connection of no use any more? Anything that the server did not say itself is about the connection. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof ConnectionLostError) return true;
  const state = sqlStateOf(error);
  if (state !== undefined) return GONE.has(state) || state.startsWith("08");
  return error instanceof Error && isSocketError(error);
}

const CLIENT_MESSAGES =
  /^(?:Connection terminated|Client (?:has encountered a connection error|was closed)|timeout expired|The server does not support SSL)/;

function isSocketError(error: Error): boolean {
  return "syscall" in error || "errno" in error || CLIENT_MESSAGES.test(error.message);
}

/** Did a server answer, if only to say that it cannot take one more connection? */
export function isAnswerOfLiving(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !isConnectionLoss(error);
}

export function unavailable(cause: unknown): CodedError {
  const message = "the metadata database is not available";
  return new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" }, cause });
}

/** What a failure means to the port's callers: full, out of reach for now, or (anything else) a fault that is logged. */
export function storeError(error: unknown): unknown {
  const state = sqlStateOf(error) ?? "";
  if (state === DISK_FULL) {
    return new CodedError("INSUFFICIENT_STORAGE", "the disk of the metadata database is full", { cause: error });
  }
  return isConnectionLoss(error) || isConflict(error) || BUSY.test(state) ? unavailable(error) : error;
}
