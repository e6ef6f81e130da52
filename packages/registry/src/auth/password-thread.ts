import { Worker } from "node:worker_threads";
import { CodedError } from "@cache-registry/core/errors";

export type PasswordQuestion = { readonly id: number; readonly password: string; readonly hash: string };
export type PasswordAnswer = { readonly id: number; readonly matches: boolean };

/** Compares passwords with bcrypt hashes in a thread of its own, which is started by the first question. */
export type PasswordThread = {
  /** @throws CodedError UNAVAILABLE when too many are waiting, Error when the thread died */
  compare(password: string, hash: string): Promise<boolean>;
};

/** Who guesses passwords faster than they can be checked must not fill the memory. At about 50 ms each: some seconds. */
const MAX_WAITING = 100;

type Waiter = { resolve(matches: boolean): void; reject(error: Error): void };

/** Beside this file, in the sources as in a bundle that lies in one flat folder. */
const WORKER = new URL(`./password-worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

export function createPasswordThread(): PasswordThread {
  const waiting = new Map<number, Waiter>();
  let worker: Worker | undefined;
  let nextId = 1;

  function start(): Worker {
    const started = new Worker(WORKER, { name: "passwords", execArgv: [] });
    // No reason to keep a process that is done.
    started.unref();
    started.on("message", ({ id, matches }: PasswordAnswer) => {
      waiting.get(id)?.resolve(matches);
      waiting.delete(id);
    });
    const end = (error: Error): void => {
      if (worker !== started) return;
      worker = undefined;
      for (const waiter of waiting.values()) waiter.reject(error);
      waiting.clear();
    };
    started.on("error", (error) => end(error instanceof Error ? error : new Error(String(error))));
    started.on("exit", (code) => end(new Error(`the password thread ended (exit code ${code})`)));
    return started;
  }

  return {
    async compare(password, hash) {
      if (waiting.size >= MAX_WAITING) {
        throw new CodedError("UNAVAILABLE", "too many passwords are being checked", {
          headers: { "retry-after": "5" },
        });
      }
      worker ??= start();
      const id = nextId++;
      const answer = Promise.withResolvers<boolean>();
      waiting.set(id, answer);
      worker.postMessage({ id, password, hash } satisfies PasswordQuestion);
      return answer.promise;
    },
  };
}
