import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RUN_DIRECTORY } from "./layout.ts";
import type { ProcessIdentity } from "./process-table.ts";

/** What a later run must know to end this one. */
export interface RunState {
  readonly root: string;
  /** Started to stay (`main.ts up`): only `main.ts down` ends it. */
  readonly keep: boolean;
  readonly processes: Readonly<Record<string, ProcessIdentity>>;
}

const FILE = join(RUN_DIRECTORY, "state.json");
export const LOCK_FILE = join(RUN_DIRECTORY, "lock");

export function readRunState(): RunState | undefined {
  try {
    return JSON.parse(readFileSync(FILE, "utf8")) as RunState;
  } catch {
    return undefined;
  }
}

export function writeRunState(state: RunState): void {
  mkdirSync(RUN_DIRECTORY, { recursive: true });
  writeFileSync(`${FILE}.new`, JSON.stringify(state, null, 2));
  renameSync(`${FILE}.new`, FILE);
}

export function removeRunState(): void {
  rmSync(FILE, { force: true });
}
