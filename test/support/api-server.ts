import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";

/** A real API server on a real etcd, without nodes and without controllers: what the tests create is all there is. */
export interface ApiServer {
  /** Path of a kubeconfig with all rights. */
  readonly kubeconfig: string;
  /** Path of a kubeconfig of the user `controllers`, who has the rights that the test gives. */
  readonly limitedKubeconfig: string;
  readonly kubectl: string;
  /** Stops answering without closing a connection, as a hung machine does. */
  freeze(): void;
  thaw(): void;
  /** kill -9 and a new process on the same port and the same etcd. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startApiServer(): Promise<ApiServer> {
  const tools = await ensureTools(["etcd", "kube-apiserver", "kubectl"], {
    log: (line) => process.stderr.write(`${line}\n`),
  });
  const dir = await mkdtemp(join(tmpdir(), "creg-api-server-"));
  const [etcdPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const token = randomBytes(16).toString("hex");
  const { kubeconfig, limitedKubeconfig } = await writeFiles(dir, token, apiPort);
  const etcd = run(join(dir, "etcd.log"), tools.etcd, [
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
    `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
    `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
    "--unsafe-no-fsync",
    "--log-level=error",
  ]);
  const startServer = (): ChildProcess =>
    run(join(dir, "kube-apiserver.log"), tools["kube-apiserver"], [
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${apiPort}`,
      `--cert-dir=${dir}`,
      `--token-auth-file=${join(dir, "tokens.csv")}`,
      "--authorization-mode=RBAC",
      // Loopback is no endpoint for pods, and there are none.
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=10.99.0.0/24",
      // Nobody makes ServiceAccounts here.
      "--disable-admission-plugins=ServiceAccount",
      `--service-account-key-file=${join(dir, "sa.key")}`,
      `--service-account-signing-key-file=${join(dir, "sa.key")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
    ]);
  let server = startServer();
  await ready({ dir, port: apiPort, token }, server);
  return {
    kubeconfig,
    limitedKubeconfig,
    kubectl: tools.kubectl ?? "",
    freeze: () => void server.kill("SIGSTOP"),
    thaw: () => void server.kill("SIGCONT"),
    async restart() {
      await end(server);
      server = startServer();
      await ready({ dir, port: apiPort, token }, server);
    },
    async stop() {
      await end(server);
      await end(etcd);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

type Address = { readonly dir: string; readonly port: number; readonly token: string };
type Kubeconfigs = { readonly kubeconfig: string; readonly limitedKubeconfig: string };

async function writeFiles(dir: string, token: string, port: number): Promise<Kubeconfigs> {
  const kubeconfig = join(dir, "kubeconfig");
  const limitedKubeconfig = join(dir, "limited-kubeconfig");
  const limitedToken = randomBytes(16).toString("hex");
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  await writeFile(join(dir, "sa.key"), privateKey.export({ type: "pkcs1", format: "pem" }));
  const users = [`${token},admin,admin,system:masters`, `${limitedToken},controllers,controllers`];
  await writeFile(join(dir, "tokens.csv"), `${users.join("\n")}\n`);
  await writeFile(kubeconfig, kubeconfigOf(port, token));
  await writeFile(limitedKubeconfig, kubeconfigOf(port, limitedToken));
  return { kubeconfig, limitedKubeconfig };
}

function kubeconfigOf(port: number, token: string): string {
  const cluster = { server: `https://127.0.0.1:${port}`, "insecure-skip-tls-verify": true };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    clusters: [{ name: "test", cluster }],
    users: [{ name: "test", user: { token } }],
  });
}

function run(log: string, program: string | undefined, args: readonly string[]): ChildProcess {
  if (program === undefined) throw new Error("a tool is missing");
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const file = createWriteStream(log, { flags: "a" });
  child.stdout.pipe(file, { end: false });
  child.stderr.pipe(file, { end: false });
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await exited;
}

/** Much more than it takes, also on a machine that does three other things. */
const READY_TIMEOUT = 120_000;

async function endOf(dir: string, log: string): Promise<string> {
  const text = await readFile(join(dir, log), "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-8).join("\n");
}

async function ready({ dir, port, token }: Address, server: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT;
  while (Date.now() < deadline) {
    if (server.exitCode !== null) {
      throw new Error(`kube-apiserver ended with ${server.exitCode}:\n${await endOf(dir, "kube-apiserver.log")}`);
    }
    if ((await statusOf(port, token)) === 200) return;
    await sleep(200);
  }
  const logs = [await endOf(dir, "etcd.log"), await endOf(dir, "kube-apiserver.log")];
  throw new Error(`kube-apiserver was not ready after ${READY_TIMEOUT} ms:\n${logs.join("\n")}`);
}

function statusOf(port: number, token: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token}` };
    const options = { host: "127.0.0.1", port, path: "/readyz", rejectUnauthorized: false, headers, agent: false };
    const asking = request({ ...options, timeout: 10_000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asking.once("timeout", () => asking.destroy());
    asking.once("error", () => resolve(undefined));
    asking.end();
  });
}
