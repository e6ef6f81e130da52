import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { freePort } from "../../hack/cluster/free-port.ts";
import { noteOutput } from "./process-output.ts";

const CLI = new URL("../../packages/cli/src/main.ts", import.meta.url).pathname;

export type RegistryProcess = {
  /** Base URL of the registry. */
  readonly url: string;
  /** Base URL of `/api/v1`, `/readyz` and `/metrics`. */
  readonly management: string;
  /** Its folder: configuration, and `data` with `blobs/`, `ingest/`, `uploads/` and `trash/`. */
  readonly directory: string;
  readonly data: string;
  readonly pid: number;
  /** What it wrote so far. */
  output(): string;
  /** Memory that it holds now, in bytes. */
  residentBytes(): number;
  /** SIGTERM. Resolves with the exit code, null when a signal ended it. */
  stop(): Promise<number | null>;
  /** SIGTERM without waiting. */
  terminate(): void;
  /** Resolves with the exit code once it ended by itself or was told to. */
  readonly exited: Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it anew on the same folder and ports, after it ended; `until` it is ready, or only lives (`/livez`). */
  start(until?: Probe): Promise<void>;
  /** Ends it and removes its folder. */
  dispose(): Promise<void>;
};

type Configuration = Readonly<Record<string, unknown>>;

export type RunningCommand = {
  readonly child: ChildProcess;
  output(): string;
  readonly exited: Promise<number | null>;
};

/** `cache-registry <args>` from the sources. */
export function runCommand(args: readonly string[], options: { cwd: string; env?: NodeJS.ProcessEnv }): RunningCommand {
  const env = { PATH: process.env.PATH, NODE_NO_WARNINGS: "1", ...options.env };
  // It ends with the test run, however that ends.
  const command = ["--pdeathsig", "KILL", process.execPath, CLI, ...args];
  const child = spawn("setpriv", command, { cwd: options.cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { child, exited, output: () => Buffer.concat(chunks).toString("utf8") };
}

/** Much more than a start takes, also on a machine that does three other things. */
const START_TIMEOUT = 90_000;

export type Probe = "readyz" | "livez";

/** Waits until the probe says so. @throws Error with the output when the process ends first or takes too long */
export async function whenReady(command: RunningCommand, management: string, probe: Probe = "readyz"): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT;
  let code: number | null | undefined;
  let said = "nothing";
  void command.exited.then((exit) => {
    code = exit;
  });
  while (Date.now() < deadline) {
    if (code !== undefined) throw new Error(`the process ended with ${code}:\n${command.output()}`);
    try {
      const answer = await fetch(`${management}/${probe}`, { signal: AbortSignal.timeout(10_000) });
      if (answer.ok) return;
      said = await answer.text();
    } catch (error) {
      said = String(error instanceof Error ? (error.cause ?? error) : error);
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error(`${management}/${probe} says ${said}:\n${command.output()}`);
}

/** The registry as its users run it: a process of its own, on free ports of 127.0.0.1, in a temporary folder. */
export async function startRegistryProcess(
  configuration: Configuration = {},
  { env = {} }: { readonly env?: NodeJS.ProcessEnv } = {},
): Promise<RegistryProcess> {
  const directory = await mkdtemp(join(tmpdir(), "creg-test-"));
  const data = join(directory, "data");
  const [port, managementPort] = [await freePort(), await freePort()];
  const { management: managementOverrides, storage, ...rest } = configuration;
  const complete = {
    upstreams: [],
    log: { level: "info", access: false },
    ...rest,
    listen: { host: "127.0.0.1", port },
    management: { port: managementPort, ...(managementOverrides as object | undefined) },
    storage: {
      blobs: { filesystem: { path: data } },
      metadata: { sqlite: { path: join(data, "metadata.db") } },
      ...(storage as object | undefined),
    },
  };
  const file = join(directory, "registry.yaml");
  await writeFile(file, stringify(complete));
  const management = `http://127.0.0.1:${managementPort}`;
  let command = runCommand(["registry", "--config", file], { cwd: directory, env });
  const url = `http://127.0.0.1:${port}`;
  noteOutput(url, () => command.output());
  try {
    await whenReady(command, management);
  } catch (error) {
    command.child.kill("SIGKILL");
    await command.exited;
    await rm(directory, { recursive: true, force: true });
    throw error;
  }

  const registry: RegistryProcess = {
    url,
    management,
    directory,
    data,
    get pid() {
      return command.child.pid ?? 0;
    },
    output: () => command.output(),
    residentBytes: () => residentBytesOf(registry.pid),
    terminate: () => void command.child.kill("SIGTERM"),
    get exited() {
      return command.exited;
    },
    async stop() {
      command.child.kill("SIGTERM");
      return command.exited;
    },
    async kill() {
      command.child.kill("SIGKILL");
      await command.exited;
    },
    async start(until) {
      command = runCommand(["registry", "--config", file], { cwd: directory, env });
      await whenReady(command, management, until);
    },
    async dispose() {
      await registry.kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return registry;
}

function residentBytesOf(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}
