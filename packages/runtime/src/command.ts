/** What the command line hands to a command. `values`: its options, as node:util parseArgs gives them. */
export type CommandOptions = {
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly values?: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
};

/** Aborted by the first SIGINT or SIGTERM; the second ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => controller.abort(new Error(`interrupted by ${signal}`)));
  }
  return controller.signal;
}

/** Exit code of a command that was interrupted, as shells give for SIGINT. */
export const EXIT_INTERRUPTED = 130;

/** A line of a command's result. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
