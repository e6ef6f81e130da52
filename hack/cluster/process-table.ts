import { readdirSync, readFileSync } from "node:fs";

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: clock ticks after boot. */
  readonly startTime: string;
}

/** @returns undefined when there is no such process, or only its zombie */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses and may hold anything, also spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTime] = [fields[0], fields[19]];
    return state === "Z" || startTime === undefined ? undefined : { pid, startTime };
  } catch {
    return undefined;
  }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTime === process.startTime;
}

/** Processes whose arguments the predicate accepts. */
export function findProcesses(accepts: (argv: readonly string[]) => boolean): ProcessIdentity[] {
  return readdirSync("/proc").flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0").slice(0, -1);
      const found = argv.length && accepts(argv) ? identify(Number(entry)) : undefined;
      return found ? [found] : [];
    } catch {
      return [];
    }
  });
}

/** Ends processes: SIGTERM, and SIGKILL for those that are still there after `graceMs`. */
export async function endProcesses(processes: readonly ProcessIdentity[], graceMs: number): Promise<void> {
  const signal = (name: NodeJS.Signals) => {
    for (const process_ of processes.filter(isAlive)) {
      try {
        process.kill(process_.pid, name);
      } catch {
        // It ended between the look and the signal.
      }
    }
  };
  signal("SIGTERM");
  await waitWhile(() => processes.some(isAlive), graceMs);
  signal("SIGKILL");
  await waitWhile(() => processes.some(isAlive), 10_000);
}

async function waitWhile(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (condition() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
}
