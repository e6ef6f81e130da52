import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What a program or a shared library says of itself. */
export interface ElfFile {
  /** For example `AArch64`. */
  readonly machine: string;
  /** Names of the libraries it needs. */
  readonly needed: readonly string[];
  /** The loader that a program asks for. */
  readonly interpreter: string | undefined;
}

/** Reads headers with readelf, which knows every architecture. @returns undefined for a file that is not ELF */
export async function readElf(file: string): Promise<ElfFile | undefined> {
  const text = await run("readelf", ["-hldW", file], { env: { ...process.env, LC_ALL: "C" }, maxBuffer: 2 ** 24 }).then(
    ({ stdout }) => stdout,
    () => "",
  );
  const machine = /^\s+Machine:\s+(.+)$/m.exec(text)?.[1];
  if (!machine) return undefined;
  return {
    machine: machine.trim(),
    needed: [...text.matchAll(/\(NEEDED\)\s+Shared library: \[([^\]]+)\]/g)].map((match) => match[1] ?? ""),
    interpreter: /\[Requesting program interpreter: ([^\]]+)\]/.exec(text)?.[1],
  };
}
