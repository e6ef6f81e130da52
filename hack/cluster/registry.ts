import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureTools } from "../tools/ensure.ts";
import { startComponent, waitFor } from "./components.ts";
import { requireTool } from "./containerd.ts";
import { freePort } from "./free-port.ts";

export interface RegistryOptions {
  /** Holds its configuration, log and content; content that is there is served. */
  readonly dir: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Its `auth` section; nobody has to log in without it. */
  readonly auth?: object;
  readonly log: (line: string) => void;
}

export interface Registry {
  readonly host: string;
  readonly port: number;
  /** `host:port`, as image references begin. */
  readonly address: string;
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts CNCF distribution over plain HTTP: a stand-in for the registries of the world. */
export async function startRegistry({ dir, host = "127.0.0.1", port, auth, log }: RegistryOptions): Promise<Registry> {
  const tools = await ensureTools(["registry"], { log });
  const chosen = port ?? (await freePort());
  await mkdir(dir, { recursive: true });
  const configuration = {
    version: "0.1",
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(dir, "content") }, delete: { enabled: true } },
    http: { addr: `${host}:${chosen}` },
    ...(auth ? { auth } : {}),
  };
  const file = join(dir, "config.yml");
  await writeFile(file, JSON.stringify(configuration));
  const registry = startComponent({
    name: `registry-${chosen}`,
    // It ends with this process, however that ends: no later run knows of it.
    program: "setpriv",
    args: ["--pdeathsig", "TERM", requireTool(tools, "registry"), "serve", file],
    logs: dir,
    // Without this it looks for a collector of traces on every request.
    environment: { OTEL_TRACES_EXPORTER: "none" },
  });
  const address = `${host}:${chosen}`;
  const url = `http://${address}`;
  try {
    const answers = async () => (await fetch(`${url}/v2/`)).status === (auth ? 401 : 200);
    await waitFor(answers, { what: `the registry at ${url}`, components: [registry], timeoutMs: 60_000 });
  } catch (error) {
    await registry.stop();
    throw error;
  }
  return { host, port: chosen, address, url, stop: () => registry.stop() };
}
