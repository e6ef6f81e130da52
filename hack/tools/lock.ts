import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface Lock {
  release(): Promise<void>;
}

/** Of util-linux, which every Linux has. */
const FLOCK = "flock";
const CONFLICT = 99;

/**
 * Takes the lock of `file`, or answers undefined while another process has it.
 * The kernel holds it (flock) on behalf of a child that lives as long as its standard input is open, so a lock can
 * never outlive its owner, however the owner ended.
 */
export async function tryLock(file: string): Promise<Lock | undefined> {
  mkdirSync(dirname(file), { recursive: true });
  closeSync(openSync(file, "a"));
  const holder = spawn(
    FLOCK,
    ["--nonblock", "--conflict-exit-code", String(CONFLICT), file, "sh", "-c", "echo held; exec cat"],
    {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    },
  );
  const ended = new Promise<number | null>((resolve, reject) => {
    holder.once("error", reject);
    holder.once("exit", resolve);
  });
  const held = new Promise<"held">((resolve) => holder.stdout.once("data", () => resolve("held")));
  const outcome = await Promise.race([held, ended]);
  if (outcome === CONFLICT) return undefined;
  if (outcome !== "held") throw new Error(`flock ${file} ended with ${outcome}`);
  writeFileSync(file, `${process.pid}\n`);
  holder.unref();
  return {
    async release() {
      holder.ref();
      holder.stdin.end();
      await ended;
    },
  };
}

/** The process that took the lock last, as it wrote itself down; for messages only. */
export function lockHolder(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "";
  }
}

/** Waits until the lock is free; `onWait` is told once, with the process that has it. */
export async function lock(file: string, onWait: (holder: string) => void): Promise<Lock> {
  let told = false;
  for (;;) {
    const taken = await tryLock(file);
    if (taken) return taken;
    if (!told) onWait(lockHolder(file));
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
