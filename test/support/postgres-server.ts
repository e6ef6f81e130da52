import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureDebianPackages } from "../../hack/tools/debian.ts";

const run = promisify(execFile);

/** A PostgreSQL server of its own: temporary folder, free port of 127.0.0.1 and a Unix socket. */
export type PostgresServer = {
  readonly port: number;
  readonly password: string;
  /** URL of a new, empty database. `encoding` and `locale` as CREATE DATABASE has them. */
  database(): Promise<string>;
  /** The same database by the Unix socket. */
  bySocket(url: string): string;
  /** Runs statements on a connection of its own. */
  query<Row extends pg.QueryResultRow>(url: string, text: string, values?: unknown[]): Promise<Row[]>;
  /** SIGINT: connections are ended, transactions rolled back. */
  stop(): Promise<void>;
  /** SIGKILL to every process of it, as at a power cut. */
  kill(): Promise<void>;
  /** After `stop` or `kill`: anew on the same folder and port. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT, to every process: connections open, nothing answered. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  dispose(): Promise<void>;
};

/** The folder with initdb and postgres. */
async function findBinaries(): Promise<string> {
  const root = "/usr/lib/postgresql";
  const versions = await readdir(root).catch((): string[] => []);
  const newest = versions
    .map(Number)
    .filter(Boolean)
    .sort((a, b) => b - a);
  const folders = [
    ...newest.map((version) => join(root, String(version), "bin")),
    ...(process.env.PATH ?? "").split(delimiter),
  ];
  const found = folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
  if (!found) throw new Error("PostgreSQL is installed, but initdb and postgres are in no known folder");
  return found;
}

/** PostgreSQL refuses to run as root. */
async function unprivileged(): Promise<{ readonly command: readonly string[]; readonly owner: string } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+):/m.exec(passwd) ?? /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd) ?? [];
  if (!uid || !gid) throw new Error("there is no user to run PostgreSQL as");
  return { command: ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"], owner: `${uid}:${gid}` };
}

export async function startPostgresServer(): Promise<PostgresServer> {
  await ensureDebianPackages(["postgresql"], { log: () => {} });
  const binaries = await findBinaries();
  const folder = await mkdtemp(join(tmpdir(), "creg-pg-"));
  const user = await unprivileged();
  if (user) await run("chown", [user.owner, folder]);
  await chmod(folder, 0o755);
  const data = join(folder, "data");
  const port = await freePort();
  const password = "pass word/of:the@tests";
  let child: ChildProcess | undefined;
  let output = "";
  let databases = 0;

  async function asUser(command: string, args: readonly string[], input = ""): Promise<void> {
    const [first = command, ...rest] = [...(user?.command ?? []), command, ...args];
    const running = run(first, rest, { cwd: folder, env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" } });
    running.child.stdin?.end(input);
    await running;
  }

  const urlOf = (database: string) => `postgres://tests:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;

  async function query<Row extends pg.QueryResultRow>(url: string, text: string, values?: unknown[]): Promise<Row[]> {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
    client.on("error", () => {});
    await client.connect();
    try {
      const answer: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(text, values);
      // Of several statements, what the last one says.
      return (Array.isArray(answer) ? answer.at(-1) : answer)?.rows ?? [];
    } finally {
      await client.end();
    }
  }

  /** The postmaster and its children. */
  async function processes(): Promise<number[]> {
    const { pid } = child ?? {};
    if (pid === undefined) return [];
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    return [pid, ...children.trim().split(" ").filter(Boolean).map(Number)];
  }

  async function signal(name: NodeJS.Signals): Promise<void> {
    for (const pid of await processes()) {
      try {
        process.kill(pid, name);
      } catch {
        // It ended meanwhile.
      }
    }
  }

  async function exited(running: ChildProcess): Promise<void> {
    if (running.exitCode === null && running.signalCode === null) {
      await new Promise((resolve) => running.once("exit", resolve));
    }
  }

  async function startOnce(): Promise<void> {
    const settings = {
      port,
      listen_addresses: "127.0.0.1",
      unix_socket_directories: folder,
      max_connections: 200,
      shared_buffers: "64MB",
      // As in production: what these tests are about is what a commit means. The disk itself is not under test.
      fsync: "on",
      log_min_messages: "warning",
    };
    const args = ["-D", data, ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`])];
    // It ends with the test run, however that ends.
    const [first = "", ...rest] = [
      ...(user?.command ?? ["setpriv"]),
      "--pdeathsig",
      "KILL",
      join(binaries, "postgres"),
      ...args,
    ];
    const started = spawn(first, rest, {
      cwd: folder,
      env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [started.stdout, started.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    child = started;
    for (const deadline = Date.now() + 90_000; ; ) {
      try {
        await query(urlOf("postgres"), "SELECT 1");
        return;
      } catch (error) {
        if (started.exitCode !== null || Date.now() > deadline)
          throw new Error(`no PostgreSQL: ${output}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    }
  }

  /** A process that was being born when the others were killed may live a moment longer, and keep the next server off. */
  async function start(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await startOnce();
        return;
      } catch (error) {
        if (attempt === 20 || child?.exitCode === null) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  async function kill(): Promise<void> {
    const running = child;
    if (!running) return;
    const pids = await processes();
    await signal("SIGKILL");
    await exited(running);
    // The next server refuses to start while one of them is attached to the shared memory.
    const left = () => pids.filter((pid) => existsSync(`/proc/${pid}`));
    for (const deadline = Date.now() + 10_000; left().length > 0 && Date.now() < deadline; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  await asUser(
    "sh",
    [
      "-c",
      `cat > '${folder}/password' && '${join(binaries, "initdb")}' -D '${data}' -U tests --pwfile='${folder}/password' -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync`,
    ],
    password,
  );
  await start();

  return {
    port,
    password,
    async database() {
      databases += 1;
      const name = `tests_${databases}`;
      await query(urlOf("postgres"), `CREATE DATABASE ${name}`);
      return urlOf(name);
    },
    bySocket: (url) => `${url.replace(`127.0.0.1:${port}`, `:${port}`)}?host=${folder}`,
    query,
    async stop() {
      const running = child;
      if (!running) return;
      running.kill("SIGINT");
      await exited(running);
    },
    kill,
    start,
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT"),
    async dispose() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
