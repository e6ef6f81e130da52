import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { freePort } from "../../hack/cluster/free-port.ts";
import { type RunningCommand, whenReady } from "./registry-process.ts";

const SOURCES = new URL("../../packages/cli/src/main.ts", import.meta.url).pathname;
/** Of /proc/<pid>/stat: Linux has counted hundredths of a second for decades. */
const TICKS_PER_SECOND = 100;

export type WebhookProcess = {
  /** Where reviews are posted. */
  readonly url: string;
  readonly management: string;
  /** The certificate that signed its own: PEM file. */
  readonly caFile: string;
  readonly ca: string;
  readonly directory: string;
  readonly pid: number;
  output(): string;
  /** CPU time that it has used so far. */
  cpuSeconds(): number;
  residentBytes(): number;
  /** Ends it and removes its folder. */
  dispose(): Promise<void>;
};

export type WebhookProcessOptions = {
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** The program's file: from the sources unless a bundle is named. */
  readonly main?: string;
  readonly nodeOptions?: readonly string[];
};

/** The webhook as its users run it: a process of its own with a certificate for 127.0.0.1. */
export async function startWebhookProcess(options: WebhookProcessOptions = {}): Promise<WebhookProcess> {
  const { configuration = {}, main = SOURCES, nodeOptions = [] } = options;
  const directory = await mkdtemp(join(tmpdir(), "creg-webhook-"));
  const [certFile, keyFile] = [join(directory, "tls.crt"), join(directory, "tls.key")];
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-keyout", keyFile, "-out", certFile, "-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1"],
  ]);
  const [port, managementPort] = [await freePort(), await freePort()];
  const file = join(directory, "webhook.yaml");
  const listen = { host: "127.0.0.1", port, tls: { certFile, keyFile } };
  await writeFile(file, stringify({ ...configuration, listen, management: { port: managementPort } }));
  const management = `http://127.0.0.1:${managementPort}`;
  const command = run([...nodeOptions, main, "webhook", "--config", file], directory);
  await whenReady(command, management);
  const pid = command.child.pid ?? 0;
  return {
    url: `https://127.0.0.1:${port}/mutate`,
    management,
    caFile: certFile,
    ca: await readFile(certFile, "utf8"),
    directory,
    pid,
    output: () => command.output(),
    cpuSeconds() {
      const text = readFileSync(`/proc/${pid}/stat`, "utf8");
      // After the name in brackets, which may hold anything: the 12th and 13th are user and system time.
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    residentBytes() {
      const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
      return Number(kilobytes) * 1024;
    },
    async dispose() {
      command.child.kill("SIGKILL");
      await command.exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function run(args: readonly string[], cwd: string): RunningCommand {
  const env = { PATH: process.env.PATH, NODE_NO_WARNINGS: "1", NODE_ENV: "production" };
  // It ends with the test run, however that ends.
  const command = ["--pdeathsig", "KILL", process.execPath, ...args];
  const child = spawn("setpriv", command, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { child, exited, output: () => Buffer.concat(chunks).toString("utf8") };
}
