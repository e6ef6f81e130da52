import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { endProcesses, identify, type ProcessIdentity } from "./process-table.ts";

export interface Component {
  readonly name: string;
  readonly identity: ProcessIdentity;
  /** @throws Error with the end of the log when the process has ended */
  assertRunning(): void;
  logTail(): string;
  stop(graceMs?: number): Promise<void>;
}

export interface ComponentOptions {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly logs: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** The process may outlive this one; otherwise it still does, but this one waits for it. */
  readonly onStart?: (identity: ProcessIdentity) => void;
}

/**
 * Starts one program of the cluster, in a session of its own: a Ctrl-C on the terminal must reach the runner only, which
 * then stops the components in order.
 */
export function startComponent({ name, program, args, logs, environment, onStart }: ComponentOptions): Component {
  mkdirSync(logs, { recursive: true });
  const logFile = join(logs, `${name}.log`);
  const log = openSync(logFile, "a");
  const child = spawn(program, [...args], {
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...environment },
  });
  closeSync(log);
  child.unref();
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
  });
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (!identity) throw new Error(`${name} could not be started: ${program}`);
  onStart?.(identity);

  const logTail = () => readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-15).join("\n");
  return {
    name,
    identity,
    logTail,
    assertRunning() {
      const ended = failure?.message ?? endOf(child);
      if (ended) throw new Error(`${name} ended (${ended}); ${logFile} ends:\n${logTail()}`);
    },
    stop: (graceMs = 5_000) => endProcesses([identity], graceMs),
  };
}

function endOf(child: ChildProcess): string | undefined {
  if (child.signalCode) return child.signalCode;
  return child.exitCode === null ? undefined : `exit code ${child.exitCode}`;
}

export interface WaitOptions {
  readonly what: string;
  readonly components: readonly Component[];
  readonly timeoutMs?: number;
}

/**
 * Repeats `check` until it answers something other than undefined or false.
 * @throws Error when a component it depends on has ended, or after the time, with the last error and the end of the log
 */
export async function waitFor<T>(check: () => Promise<T | undefined | false>, options: WaitOptions): Promise<T> {
  const { what, components, timeoutMs = 60_000 } = options;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    for (const component of components) component.assertRunning();
    try {
      const answer = await check();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const logs = components.map((component) => `${component.name} log ends:\n${component.logTail()}`);
      const reason = last instanceof Error ? ` (${last.message})` : "";
      throw new Error([`${what}: not within ${timeoutMs / 1000} s${reason}`, ...logs].join("\n"));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
