import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { parseJson } from "@cache-registry/core/json";
import { createRenewed } from "@cache-registry/runtime/renewed";
import { z } from "zod";
import { basicIdentity, type Identity } from "./identity.ts";
import type { HeldIdentity } from "./question.ts";

/** What a helper may be called; nothing that leads to another folder or is an option. */
export function isHelperName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name);
}

function programOf(name: string): string {
  return `docker-credential-${name}`;
}

/** Is the program somewhere on PATH? Not the same as that it will work. */
export function isHelperInstalled(name: string, { PATH = "" }: NodeJS.ProcessEnv = process.env): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, programOf(name)), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export type HelperOptions = {
  /** `ecr-login` is the program docker-credential-ecr-login on PATH. */
  readonly name: string;
  /** What it is asked for: a host, or Docker Hub's `https://index.docker.io/v1/`. */
  readonly server: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds; then it is killed with everything that it started. */
  readonly timeout?: number;
};

const TIMEOUT_MS = 15_000;
const MAX_OUTPUT_BYTES = 64 * 1024;
/** The protocol tells no expiry; a refusal ends it earlier. */
const LIFETIME_MS = 5 * 60_000;
/** Of the protocol: how a helper says that it knows the server not. */
const NOT_FOUND = "credentials not found in native keychain";
/** Of the protocol: the secret is an identity token. */
const TOKEN_USER = "<token>";

const Answer = z.object({ Username: z.string(), Secret: z.string() });

/** Our own configuration may hold secrets that are none of its business. */
function environmentOf(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("CREG_")));
}

type Ended = { readonly code: number | null; readonly output: string };

function run({ name, server, env = process.env, timeout = TIMEOUT_MS }: HelperOptions): Promise<Ended> {
  const program = programOf(name);
  return new Promise((resolve, reject) => {
    // In a group of its own, so that its children end with it. Never through a shell.
    const child = spawn(program, ["get"], {
      env: environmentOf(env),
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    const chunks: Buffer[] = [];
    let size = 0;
    const giveUp = (why: string): void => {
      kill(child.pid);
      child.stdout.destroy();
      reject(new Error(`${program} ${why}`));
    };
    const timer = setTimeout(() => giveUp(`gave no answer within ${timeout} ms`), timeout);
    child.stdout.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT_BYTES) giveUp("wrote too much");
      else chunks.push(chunk);
    });
    child.once("error", (error) => {
      clearTimeout(timer);
      const { code } = error as NodeJS.ErrnoException;
      reject(new Error(`${program} cannot be started (${code ?? "unknown error"})`));
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output: Buffer.concat(chunks).toString("utf8") });
    });
    // It may end without reading.
    child.stdin.on("error", () => undefined);
    child.stdin.end(server);
  });
}

function kill(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}

/**
 * Asks a docker credential helper once. Undefined: it has nothing for this server.
 * @throws Error that never holds what the helper wrote
 */
export async function askHelper(options: HelperOptions): Promise<Identity | undefined> {
  const { code, output } = await run(options);
  const program = programOf(options.name);
  if (code !== 0) {
    if (output.trim() === NOT_FOUND) return undefined;
    throw new Error(`${program} failed (${code === null ? "killed" : `exit code ${code}`})`);
  }
  const answer = Answer.safeParse(parseJson(output));
  if (!answer.success) throw new Error(`${program} gave no credentials in JSON`);
  const { Username: username, Secret: secret } = answer.data;
  if (username === "" && secret === "") return undefined;
  return username === TOKEN_USER ? { kind: "identity-token", token: secret } : basicIdentity(username, secret);
}

/** What a helper says, held for some minutes; one run at a time. */
export function createHelper(options: HelperOptions): HeldIdentity {
  return createRenewed({ obtain: async () => ({ value: await askHelper(options), lifetime: LIFETIME_MS }) });
}
