import type { Worker } from "node:worker_threads";
import {
  fromFailure,
  type WriteReply,
  type WriteRequest,
  type WriterCommand,
  type WriterNotice,
  type WriterStats,
} from "./sqlite-messages.ts";
import type { Operations } from "./sqlite-writes/operations.ts";

type Methods = Operations & { writerStats(): WriterStats };

export type WriterChannel = {
  /** Resolves when the writer has the database open; rejects with the reason why not. */
  ready(): Promise<void>;
  /** Runs one write; resolves when it is on disk. */
  write<Name extends keyof Methods>(
    operation: Name,
    ...args: Parameters<Methods[Name]>
  ): Promise<ReturnType<Methods[Name]>>;
  /** Lets what was sent before finish, then ends the thread. Idempotent. */
  close(): Promise<void>;
};

type Waiter = { resolve(value: unknown): void; reject(error: Error): void };

export type WriterEvents = {
  /** Something was written, and nobody was told so yet. */
  readonly onWritten: () => void;
  /** Once: the thread died unasked; from then on nothing works. */
  readonly onFatal: (error: Error) => void;
};

/** The main thread's end of the writer. */
export function createWriterChannel(worker: Worker, { onWritten, onFatal }: WriterEvents): WriterChannel {
  const pending = new Map<number, Waiter>();
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let nextId = 1;
  let isReady = false;
  let closing = false;
  let failure: Error | undefined;
  // Nobody may be waiting when it fails.
  ready.promise.catch(() => {});

  function fail(error: Error): void {
    if (failure) return;
    failure = error;
    for (const waiter of pending.values()) waiter.reject(error);
    pending.clear();
    ready.reject(error);
    if (isReady) onFatal(error);
  }

  function settle(reply: WriteReply): void {
    const waiter = pending.get(reply.id);
    pending.delete(reply.id);
    if ("failure" in reply) waiter?.reject(fromFailure(reply.failure));
    else waiter?.resolve(reply.value);
  }

  function post(command: WriterCommand): void {
    worker.postMessage(command);
  }

  worker.on("message", (notice: WriterNotice) => {
    if (notice === "ready") {
      isReady = true;
      ready.resolve();
    } else if (notice !== "closed") {
      onWritten();
      notice.forEach(settle);
    }
  });
  worker.on("error", (error) => fail(error instanceof Error ? error : new Error(String(error))));
  worker.on("exit", (code) => {
    if (!closing || pending.size > 0) fail(new Error(`the metadata writer ended unexpectedly (exit code ${code})`));
    ended.resolve();
  });

  return {
    ready: () => ready.promise,
    async write<Name extends keyof Methods>(operation: Name, ...args: Parameters<Methods[Name]>) {
      if (failure) throw failure;
      if (closing) throw new Error("the metadata store is closed");
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const request: WriteRequest = { id: nextId++, operation, args };
      pending.set(request.id, { resolve, reject });
      post(request);
      return (await promise) as ReturnType<Methods[Name]>;
    },
    async close() {
      if (!closing) {
        closing = true;
        post("close");
      }
      await ended.promise;
    },
  };
}
