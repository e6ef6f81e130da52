import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";

const run = promisify(execFile);

/** The machine's PostgreSQL on an empty folder and a port of 127.0.0.1, without passwords. */
export type ThrowawayPostgres = {
  readonly host: string;
  readonly port: number;
  /** `postgres://…` of a new, empty database. */
  createDatabase(): Promise<string>;
  /** As in a crash: connections are cut, nothing is written down. */
  stop(): Promise<void>;
  start(): Promise<void>;
  dispose(): Promise<void>;
};

async function idOf(flag: "-u" | "-g"): Promise<number> {
  return Number((await run("id", [flag, "postgres"])).stdout);
}

export async function startThrowawayPostgres(): Promise<ThrowawayPostgres> {
  const [uid, gid] = [await idOf("-u"), await idOf("-g")];
  const directory = await mkdtemp(join(tmpdir(), "creg-postgres-"));
  await chown(directory, uid, gid);
  const data = join(directory, "data");
  // It refuses to run as root.
  const as = ["--reuid", String(uid), "--regid", String(gid), "--clear-groups"];
  const options = { cwd: directory, env: { PATH: process.env.PATH, LC_ALL: "C" } };
  const init = ["initdb", "--pgdata", data, "--username", "creg", "--auth", "trust", "--encoding", "UTF8", "--no-sync"];
  await run("setpriv", [...as, ...init], options);
  const port = await freePort();
  let child: ChildProcess | undefined;
  let output = "";
  let databases = 0;

  async function start(): Promise<void> {
    const settings = { listen_addresses: "127.0.0.1", port, unix_socket_directories: "", fsync: "off" };
    const flags = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
    const started = spawn("setpriv", [...as, "--pdeathsig", "INT", "postgres", "-D", data, ...flags], {
      ...options,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [started.stdout, started.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    child = started;
    await eventually(async () => {
      if (!output.includes("ready to accept connections") || !(await accepts(port))) throw new Error(output);
    }, 30_000);
  }

  async function stop(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    output = "";
    child.kill("SIGQUIT");
    await exited;
  }

  await start();
  return {
    host: "127.0.0.1",
    port,
    async createDatabase() {
      databases += 1;
      const name = `creg_${databases}`;
      await run("psql", [
        "-h",
        "127.0.0.1",
        "-p",
        String(port),
        "-U",
        "creg",
        "-c",
        `CREATE DATABASE ${name}`,
        "postgres",
      ]);
      return `postgres://creg@127.0.0.1:${port}/${name}`;
    },
    start,
    stop,
    async dispose() {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
