import type { DatabaseSync } from "node:sqlite";
import { toFailure, type WriteReply, type WriteRequest, type WriterStats } from "../sqlite-messages.ts";
import { mayBeLost } from "./may-be-lost.ts";
import type { Operations } from "./operations.ts";

/** Bounds how long the first operation of a flood waits for the last one of its transaction. */
const MAX_OPERATIONS = 512;

export type BatchRunner = {
  /** Everything given, in order. One fsync per transaction is what makes many small writes cheap (group commit). */
  run(requests: readonly WriteRequest[]): WriteReply[];
};

export function createBatchRunner(db: DatabaseSync, operations: Operations): BatchRunner {
  const stats = { operations: 0, transactions: 0 };
  let synced = true;

  /**
   * NORMAL leaves the fsync of the log to the next transaction that needs one, or to the checkpoint: a power cut takes away the
   * last transactions, never one before another (sqlite.org/pragma.html, synchronous). It cannot change inside of one.
   */
  function sync(wanted: boolean): void {
    if (wanted !== synced) db.exec(`PRAGMA synchronous = ${wanted ? "FULL" : "NORMAL"}`);
    synced = wanted;
  }

  function call({ operation, args }: WriteRequest): unknown {
    if (operation === "writerStats") return { ...stats } satisfies WriterStats;
    // The pair of name and arguments was typed where it was sent: sqlite-channel.ts.
    return (operations[operation] as (...args: readonly unknown[]) => unknown)(...args);
  }

  function runOne(request: WriteRequest): WriteReply {
    db.exec("SAVEPOINT operation");
    try {
      const value = call(request);
      db.exec("RELEASE operation");
      return { id: request.id, value };
    } catch (error) {
      // A full disk or an I/O error ends the whole transaction (sqlite.org/lang_transaction.html, "Response To Errors").
      if (!db.isTransaction) throw error;
      db.exec("ROLLBACK TO operation; RELEASE operation");
      return { id: request.id, failure: toFailure(error) };
    }
  }

  function runTransaction(requests: readonly WriteRequest[]): WriteReply[] {
    try {
      sync(!requests.every(mayBeLost));
      db.exec("BEGIN IMMEDIATE");
      const replies = requests.map(runOne);
      db.exec("COMMIT");
      stats.operations += requests.length;
      stats.transactions += 1;
      return replies;
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      const failure = toFailure(error);
      return requests.map(({ id }) => ({ id, failure }));
    }
  }

  return {
    run(requests) {
      const replies: WriteReply[] = [];
      for (let start = 0; start < requests.length; start += MAX_OPERATIONS) {
        replies.push(...runTransaction(requests.slice(start, start + MAX_OPERATIONS)));
      }
      return replies;
    },
  };
}
