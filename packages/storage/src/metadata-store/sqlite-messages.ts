import { CodedError, ERROR_CODES, type ErrorCode, messageOf } from "@cache-registry/core/errors";
import type { Operations } from "./sqlite-writes/operations.ts";

/** What the main thread and the writer say to each other. */
export type WriterOptions = {
  /** The database file. */
  readonly path: string;
  /** How long after an event its review is due at the earliest, in milliseconds: a hint, the review has the last word. */
  readonly grace: number;
  /** How long to wait for another process to let go of the database, in milliseconds. */
  readonly lockTimeout: number;
};

export type WriteRequest = {
  readonly id: number;
  readonly operation: keyof Operations | "writerStats";
  readonly args: readonly unknown[];
};
export type WriterCommand = WriteRequest | "close";

export type WriteReply = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: WriteFailure });
export type WriterNotice = "ready" | "closed" | readonly WriteReply[];

/** Operations and the transactions that carried them, since the start. */
export type WriterStats = { readonly operations: number; readonly transactions: number };

/** An error as it crosses the thread boundary: structured clone would drop the class and the code. */
export type WriteFailure = {
  readonly message: string;
  readonly code: ErrorCode | undefined;
  readonly detail: unknown;
};

/** SQLITE_FULL, sqlite.org/rescode.html. */
const SQLITE_FULL = 13;

export function toFailure(error: unknown): WriteFailure {
  if (error instanceof CodedError) return { message: error.message, code: error.code, detail: error.detail };
  const full = error instanceof Error && "errcode" in error && error.errcode === SQLITE_FULL;
  return {
    message: full ? "the disk of the metadata store is full" : messageOf(error),
    code: full ? "INSUFFICIENT_STORAGE" : undefined,
    detail: undefined,
  };
}

export function fromFailure({ message, code, detail }: WriteFailure): Error {
  return code !== undefined && code in ERROR_CODES
    ? new CodedError(code, message, { detail })
    : new Error(`metadata store: ${message}`);
}
