import { existsSync, rmSync } from "node:fs";
import { chmod, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { bundle } from "../../hack/bundle.ts";
import { type Component, startComponent } from "../../hack/cluster/components.ts";
import { requireTool } from "../../hack/cluster/containerd.ts";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";

/** A server under test, in a folder of its own; its log goes to a file there. */
export type Peer = {
  readonly url: string;
  readonly pid: number;
  /** Milliseconds from its start until it answered that it is ready. */
  readonly readyAfter: number;
  readonly stop: () => Promise<void>;
};

/** Our registry also tells about itself. */
export type OurPeer = Peer & { readonly management: string };

const START_LIMIT_MS = 20_000;

type Program = {
  readonly name: string;
  readonly dir: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly port: number;
  readonly ready: string;
  readonly environment?: Readonly<Record<string, string>>;
};

async function startProgram({ name, dir, program, args, port, ready, environment = {} }: Program): Promise<Peer> {
  const component: Component = startComponent({
    name,
    // They end with this process, however that ends.
    program: "setpriv",
    args: ["--pdeathsig", "TERM", program, ...args],
    logs: dir,
    environment,
  });
  const start = performance.now();
  const isReady = async () => (await fetch(ready)).status < 500;
  while (!(await isReady().catch(() => false))) {
    component.assertRunning();
    if (performance.now() - start > START_LIMIT_MS) throw new Error(`${name} is not ready:\n${component.logTail()}`);
    await sleep(5);
  }
  const readyAfter = performance.now() - start;
  return {
    url: `http://127.0.0.1:${port}`,
    pid: component.identity.pid,
    readyAfter,
    stop: () => component.stop(),
  };
}

let built: Promise<string> | undefined;

/** The bundled program: built once for all of the run, gone with this process. */
export async function bundledMain(): Promise<string> {
  built ??= build();
  return join(await built, "main.js");
}

async function build(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-bundle-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  const folder = join(dir, "dist");
  await bundle(folder);
  return folder;
}

/** Where its data is, so that it can be there before the start. */
export const ourData = (dir: string): string => join(dir, "data");

export type OurOptions = { readonly dir: string; readonly upstream?: string };

/** Our registry as in the image: bundled, production, everything else by default; `up/` is the upstream. */
export async function startOurs({ dir, upstream }: OurOptions): Promise<OurPeer> {
  await mkdir(dir, { recursive: true });
  const main = await bundledMain();
  const [port, management] = [await freePort(), await freePort()];
  const data = ourData(dir);
  const file = join(dir, "registry.yaml");
  const configuration = {
    listen: { host: "127.0.0.1", port },
    management: { port: management },
    storage: {
      blobs: { filesystem: { path: data } },
      metadata: { sqlite: { path: join(data, "metadata.db") } },
    },
    upstreams:
      upstream === undefined ? [] : [{ registry: "upstream.example.com", endpoints: [upstream], paths: ["up"] }],
    upstreamPolicy: "listed",
  };
  await writeFile(file, stringify(configuration));
  const peer = await startProgram({
    name: "cache-registry",
    dir,
    program: process.execPath,
    args: [...nodeOptions(), main, "registry", "--config", file],
    port,
    ready: `http://127.0.0.1:${management}/readyz`,
    environment: { NODE_ENV: "production", NODE_NO_WARNINGS: "1" },
  });
  return { ...peer, management: `http://127.0.0.1:${management}` };
}

/** The flags of the image; BENCH_NODE_OPTIONS: --cpu-prof and the like, to see where the time goes. */
export function nodeOptions(): string[] {
  return (process.env.BENCH_NODE_OPTIONS ?? "--max-semi-space-size=8").split(" ").filter(Boolean);
}

/** Where its content is, so that it can be there before the start. */
export const distributionContent = (dir: string): string => join(dir, "content");

/** CNCF distribution with its default logging, which is one line per request and more. */
export async function startDistribution({ dir, upstream }: OurOptions): Promise<Peer> {
  const tools = await ensureTools(["registry"], { log: (line) => process.stderr.write(`${line}\n`) });
  const port = await freePort();
  await mkdir(dir, { recursive: true });
  const file = join(dir, "config.yml");
  const configuration = {
    version: "0.1",
    log: { level: "info" },
    storage: { filesystem: { rootdirectory: distributionContent(dir) }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
    ...(upstream === undefined ? {} : { proxy: { remoteurl: upstream } }),
  };
  await writeFile(file, stringify(configuration));
  return startProgram({
    name: "distribution",
    dir,
    program: requireTool(tools, "registry"),
    args: ["serve", file],
    port,
    ready: `http://127.0.0.1:${port}/v2/`,
    // Without this it looks for a collector of traces on every request.
    environment: { OTEL_TRACES_EXPORTER: "none" },
  });
}

const NGINX = "/usr/sbin/nginx";

/** nginx with sendfile on the files of a folder: what the kernel can do. Undefined where it is not installed. */
export async function startNginx({ dir, root }: { dir: string; root: string }): Promise<Peer | undefined> {
  if (!existsSync(NGINX)) return undefined;
  await mkdir(join(dir, "temporary"), { recursive: true });
  await chmod(dir, 0o755);
  const port = await freePort();
  const file = join(dir, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const configuration = `
daemon off; worker_processes auto; pid ${dir}/nginx.pid; error_log ${dir}/error.log; user root;
events { worker_connections 1024; }
http {
  access_log ${dir}/access.log; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  ${temporary.map((each) => `${each}_temp_path ${dir}/temporary/${each};`).join(" ")}
  server { listen 127.0.0.1:${port}; root ${root}; }
}
`;
  await writeFile(file, configuration);
  return startProgram({
    name: "nginx",
    dir,
    program: NGINX,
    args: ["-c", file, "-e", join(dir, "error.log")],
    port,
    ready: `http://127.0.0.1:${port}/`,
  });
}
