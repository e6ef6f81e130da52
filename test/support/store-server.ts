import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "./eventually.ts";

/** One of them is a big Node.js program, which takes its time where others compute. */
const START_TIMEOUT = 90_000;

export type StoreProcessOptions = {
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** Answers anything once the server serves. */
  readonly url: string;
  /** A server that writes its index when it is told to end needs SIGTERM to keep what it has. */
  readonly stopWith?: "SIGKILL" | "SIGTERM";
};

/** A real object store, on its own address. */
export type StoreProcess = {
  stop(): Promise<void>;
  /** After `stop`: anew on the same folder and port. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT: connections open, nothing answered. */
  freeze(): void;
  thaw(): void;
};

export async function startStoreProcess(options: StoreProcessOptions): Promise<StoreProcess> {
  const { command, env, url, stopWith = "SIGKILL" } = options;
  let child: ChildProcess | undefined;
  let output = "";

  async function start(): Promise<void> {
    // It ends with the test run, however that ends.
    const started = spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [started.stdout, started.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    child = started;
    await eventually(async () => {
      const answer = await fetch(url).catch(() => undefined);
      if (!answer) throw new Error(`the object store does not answer: ${output}`);
    }, START_TIMEOUT);
  }

  await start();
  return {
    start,
    async stop() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(stopWith);
      await exited;
    },
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
  };
}
