import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureDebianPackages } from "../../hack/tools/debian.ts";
import { eventually } from "./eventually.ts";

const run = promisify(execFile);

export type DockerDaemon = {
  /** `docker <args>` against this daemon. Resolves with what it wrote. @throws Error with its standard error */
  docker(...args: string[]): Promise<string>;
  stop(): Promise<void>;
};

/**
 * Debian's Docker daemon without a network of its own: it builds FROM scratch, pushes and pulls, and runs nothing.
 * Registries on 127.0.0.0/8 are spoken to over plain HTTP, as by any daemon.
 */
export async function startDockerDaemon({ mirror }: { mirror?: string } = {}): Promise<DockerDaemon> {
  await ensureDebianPackages(["docker.io"], { log: () => {} });
  const directory = await mkdtemp(join(tmpdir(), "creg-docker-"));
  const socket = `unix://${join(directory, "docker.sock")}`;
  await mkdir(join(directory, "home"));
  const log = join(directory, "log");
  const daemon = spawn(
    "setpriv",
    [
      ...["--pdeathsig", "TERM", "dockerd", "--host", socket, "--pidfile", join(directory, "pid")],
      ...["--data-root", join(directory, "data"), "--exec-root", join(directory, "exec")],
      ...["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs"],
      ...(mirror === undefined ? [] : ["--registry-mirror", mirror]),
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  );
  const written = createWriteStream(log);
  daemon.stdout.pipe(written, { end: false });
  daemon.stderr.pipe(written, { end: false });
  const exited = new Promise<number | null>((resolve) => daemon.once("exit", (code) => resolve(code)));
  const env = { HOME: join(directory, "home"), DOCKER_HOST: socket, PATH: process.env.PATH, DOCKER_BUILDKIT: "0" };
  const docker = async (...args: string[]) => {
    // Not whatever `docker` the machine has first: the client that belongs to the daemon.
    const { stdout } = await run("/usr/bin/docker", args, { env, maxBuffer: 16 << 20 });
    return stdout.trim();
  };
  const stop = async () => {
    await end(daemon, exited);
    written.end();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await eventually(() => docker("version", "--format", "{{.Server.Version}}"), 90_000);
  } catch (error) {
    const output = await readFile(log, "utf8").catch(() => "");
    await stop();
    throw new Error(`the Docker daemon did not start:\n${output.slice(-2_000)}`, { cause: error });
  }
  return { docker, stop };
}

async function end(daemon: ChildProcess, exited: Promise<unknown>): Promise<void> {
  daemon.kill("SIGTERM");
  const late = setTimeout(() => daemon.kill("SIGKILL"), 20_000);
  await exited;
  clearTimeout(late);
}
