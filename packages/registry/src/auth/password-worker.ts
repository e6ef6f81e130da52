import { parentPort } from "node:worker_threads";
import bcrypt from "bcryptjs";
import type { PasswordAnswer, PasswordQuestion } from "./password-thread.ts";

/** The thread that computes bcrypt: a quarter of a second that no stream has to wait for. */
const port = parentPort;
if (!port) throw new Error("password-worker runs as a worker thread");

port.on("message", ({ id, password, hash }: PasswordQuestion) => {
  port.postMessage({ id, matches: bcrypt.compareSync(password, hash) } satisfies PasswordAnswer);
});
